"""Which settings may change when a run is continued, and which may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
    "data.workers",
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


def _flatten(tree: dict, prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
