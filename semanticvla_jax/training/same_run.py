"""What may change when a run is continued, and what may not: settings and data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from semanticvla_jax.errors import InputError

# How a run is carried out, not what comes out of it.
OPERATIONAL = (
    "log_every",
    "checkpoint_every",
    "keep_checkpoints",
    "validate_every",
    "validation_batches",
    "profile_steps",
    "wandb",
    "data.path",  # see `check_same_data`
    "data.workers",
    "data.threads",
    "mesh.data",
    "mesh.fsdp",
    "mesh.tensor",
)
# What runs did before a setting existed.
BEFORE = {"accumulate_steps": 1, "ema_decay": 0.0}


def check_same_configuration(stored: dict, current: dict, workdir: str | Path) -> None:
    """Refuses to continue a run under another configuration.

    Raises:
      InputError: lists every differing key as `key: stored -> current`.
    """
    stored, current = BEFORE | _flatten(stored), BEFORE | _flatten(current)
    differing = [
        f"{key}: {stored.get(key, 'absent')} -> {current.get(key, 'absent')}"
        for key in sorted(stored.keys() | current.keys())
        if stored.get(key) != current.get(key) and key not in OPERATIONAL
    ]
    if differing:
        raise InputError(
            f"configuration of the run in {workdir}",
            found="; ".join(differing[:12]) + (" ..." if len(differing) > 12 else ""),
            expected="the configuration this run was started with",
            fix="undo the change, or start a new run with another --workdir",
        )


def check_same_data(stored: dict, current: dict) -> None:
    """Refuses to continue a run with other data; where they lie does not matter.

    Args:
      stored: statistics in a checkpoint's `meta`: {dataset: numbers of episodes and transitions,
        statistics of states and actions}.
      current: the same of the data there are now.

    Raises:
      InputError: says which dataset differs.
    """
    if list(stored) != list(current):
        found = f"datasets {', '.join(current)}, instead of {', '.join(stored)}"
    else:
        other = [name for name in stored if not _close(stored[name], current[name])]
        found = f"other episodes, states or actions in {', '.join(other)}" if other else ""
    if found:
        raise InputError(
            "data of the run to be continued",
            found=found,
            expected="the data it was started with: normalisation and order depend on them",
            fix="give config.data.path the same datasets, or start a new run with another "
            "--workdir",
        )


def _close(first: Any, second: Any) -> bool:
    """Nested dicts of numbers, up to what another machine's arithmetic changes."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_close(first[k], second[k]) for k in first)
    first, second = np.asarray(first), np.asarray(second)
    return first.shape == second.shape and np.allclose(first, second, rtol=1e-4, atol=1e-6)


def _flatten(tree: dict, prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
