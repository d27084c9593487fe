"""Policies of the smallest models, without training or a checkpoint."""

from __future__ import annotations

import dataclasses
import functools

import jax
import numpy as np

from semanticvla_jax.data.normalization import DatasetStatistics
from semanticvla_jax.data.transforms import Sighted
from semanticvla_jax.models import variants
from semanticvla_jax.models.build import build
from semanticvla_jax.policy import Policy
from semanticvla_jax.robots import LIBERO
from tests.models import smallest
from tests.models.smallest import jit

ROBOT = dataclasses.replace(LIBERO, chunk_length=2)


class Words:
    """Stands in for a tokenizer: each letter a word of the smallest model's vocabulary."""

    def encode(self, instruction: str) -> dict[str, np.ndarray]:
        ids = np.array([3 + ord(letter) % 36 for letter in instruction[:6].ljust(1)], np.int32)
        mask = np.arange(6) < len(ids)
        text = np.ones(5, np.int32)
        text[: min(4, len(ids))] = ids[:4]
        return {
            "prompt_ids": np.resize(ids, 6) * mask,
            "prompt_mask": mask,
            "text_ids": text,
        }


class QuickPolicy(Policy):
    """Compiled without optimisation."""

    @functools.cached_property
    def forward(self):
        return jit(lambda params, batch: self.model.apply({"params": params}, batch)[0])


@functools.cache
def policy(variant: str = "tiny") -> Policy:
    """An untrained policy: the smallest SemanticVLA, or a variant of the released one."""
    config = smallest.config() if variant == "tiny" else smallest.released()
    config["llm"] |= {"depth": 3, "kernel_init": "lecun", "embed_std": 1.0, "scan": True}
    if variant != "tiny":
        config = variants.apply(variant, config)
    model = build(config)
    params = jit(lambda: model.init(jax.random.key(0), smallest.batch()))()["params"]
    rng = np.random.default_rng(0)
    states, actions = rng.uniform(-1, 1, (50, 8)), rng.uniform(-1, 1, (50, 7))
    actions[:, 6] = actions[:, 6] > 0
    return QuickPolicy(
        label=variant,
        robot=ROBOT,
        camera_size=16,
        chunk=2,
        transform=Sighted(16),
        tokenizer=Words(),
        statistics=DatasetStatistics.of(ROBOT, states, actions, 1),
        model=model,
        params=params,
    )


def observation(seed: int = 0, instruction: str = "push") -> dict:
    rng = np.random.default_rng(seed)
    images = {
        name: rng.integers(0, 255, (16, 16, 3), dtype=np.uint8) for name in ROBOT.camera_names
    }
    state = rng.uniform(-1, 1, 8).astype(np.float32)
    return {**images, "state": state, "instruction": instruction}
