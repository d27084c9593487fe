"""A checkpoint's policy with the accelerators of a command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from semanticvla_jax.accelerate.methods import read_methods
from semanticvla_jax.accelerate.wrap import Accelerated, assemble
from semanticvla_jax.data.chunks import ChunkSource, ValidationSample, repeat_last
from semanticvla_jax.data.loading import open_mixture
from semanticvla_jax.errors import InputError
from semanticvla_jax.training import checkpoints

TYPICAL = 32  # observations by which layers are judged


def load_accelerated(
    policy: Any, methods: str, checkpoint: str | Path, step: int | None, typical: str | None
) -> Accelerated:
    """The policy of a checkpoint with accelerators around it.

    Args:
      policy: of that checkpoint.
      methods: as read_methods reads them.
      checkpoint, step: whose demonstrations are typical of what the policy sees.
      typical: other demonstrations that are.

    Raises:
      InputError: as read_methods and wrap; or there are no demonstrations to go by.
    """
    chosen, inputs = read_methods(methods, policy.model.llm.depth), []
    if any(hasattr(method, "reshape") for method in chosen):
        inputs = typical_inputs(policy, typical or _trained_on(checkpoint, step))
    return assemble(policy, chosen, inputs)


def typical_inputs(policy: Any, path: str, count: int = TYPICAL) -> list[Mapping[str, np.ndarray]]:
    """Model inputs of observations spread evenly over the demonstrations in `path`.

    Raises:
      InputError: no dataset there.
    """
    try:
        datasets, _ = open_mixture(path, policy.robot)
    except InputError as error:
        raise InputError(
            error.what,
            found=error.found,
            expected="demonstrations that are typical of the task",
            fix="name a dataset with --typical",
        ) from error
    rows = []
    for dataset in datasets:
        source = ChunkSource.of(
            dataset,
            range(dataset.episode_count),
            policy.statistics,
            policy.robot,
            policy.tokenizer,
            repeat_last,
        )
        read = ValidationSample(policy.transform)
        frames = np.linspace(0, len(source) - 1, max(1, count // len(datasets)), dtype=int)
        rows += [read(source[int(frame)]) for frame in frames]
    return [{name: row[name] for name in row if name != "actions"} for row in rows]


def _trained_on(checkpoint: str | Path, step: int | None) -> str:
    opened, step = checkpoints.open_for_reading(checkpoint, step)
    meta = opened.read_meta(step)
    opened.close()
    return meta["config"]["data"]["path"]
