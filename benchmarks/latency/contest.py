"""What each side is told of a configuration, and its process."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from benchmarks import configurations, made_up, random_policy, roofline
from benchmarks.latency.worker import Worker
from benchmarks.plain_torch import sizes as plain
from semanticvla_jax.errors import choose
from semanticvla_jax.models import abstract
from semanticvla_jax.robots import find_robot
from semanticvla_jax.text.tokenizers import PromptTokenizer

OURS, TORCH = "JAX", "PyTorch"
CROP_AREA = 0.9
DTYPES = ("float32", "bfloat16")
WEIGHT_BYTES = {"": None, "int8": 1.0, "int4": 0.5, "w8a8": 1.0}


class Contest:
    """One configuration at one precision, with an instruction.

    Attributes:
      name: of the configuration, as configurations.load takes it.
      precision: the type of the computation, and behind a plus that of the weights, if it is one
        that they are quantised to: bfloat16, bfloat16+int8.
    """

    def __init__(self, name: str, changes: Mapping[str, Any], precision: str, instruction: str):
        """Reads the configuration.

        Raises:
          InputError: no such configuration or precision.
        """
        self.name, self.changes, self.precision = name, dict(changes), precision
        self.instruction = instruction
        self.dtype, _, self.weights = precision.partition("+")
        choose({dtype: dtype for dtype in DTYPES}, self.dtype, "--precision")
        choose(WEIGHT_BYTES, self.weights, "--precision")
        config = configurations.load(name, changes)
        self.robot = find_robot(config.robot)
        self.model = random_policy.at_precision(abstract.complete(config), self.dtype)
        text = self.model["pruners"].get("text_encoder") or {"length": abstract.TEXT_LENGTH}
        self.tokenizer = PromptTokenizer(
            prompt_length=config.data.prompt_length, text_length=text["length"]
        )
        self.ids = self.tokenizer.encode(instruction)
        self.prompt_tokens = int(self.ids["prompt_mask"].sum())

    def query(self) -> roofline.Query:
        """What a query computes."""
        return roofline.count(
            self.model,
            self.robot,
            self.prompt_tokens,
            quantised=WEIGHT_BYTES[self.weights],
        )

    def told_ours(self) -> dict[str, Any]:
        """Arguments of ours.OurSide."""
        return {
            "name": self.name,
            "changes": self.changes,
            "precision": self.precision,
            "instruction": self.instruction,
        }

    def told_torch(self, compile_mode: str) -> dict[str, Any]:
        """Arguments of torch_side.TorchSide.

        Raises:
          InputError: it cannot build such a model.
        """
        prompt = self.ids["prompt_ids"][: self.prompt_tokens].tolist()
        ids = [self.tokenizer.bos_id, *prompt]
        return {
            "sizes": plain.sizes(self.model, self.robot, self.prompt_tokens),
            "precision": self.dtype,
            "pixels": made_up.CAMERA_PIXELS,
            "crop_area": CROP_AREA,
            "prompt_ids": ids,
            "text_ids": self.ids["text_ids"].tolist(),
            "compile_mode": None if compile_mode == "none" else compile_mode,
        }


def our_worker(contest: Contest) -> Worker:
    """Takes device memory only as it needs it: the other side needs some too."""
    command = [sys.executable, "-m", "benchmarks.latency.ours"]
    return Worker(command, contest.told_ours(), {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"})


def torch_worker(contest: Contest, python: str, compile_mode: str) -> Worker:
    """In a Python that has torch, from this directory."""
    command = [python, "-m", "benchmarks.latency.torch_side"]
    return Worker(command, contest.told_torch(compile_mode))
