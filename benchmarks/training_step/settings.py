"""What both implementations are told: a configuration, and its sizes without it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import configurations
from benchmarks.plain_torch import sizes as plain
from semanticvla_jax.errors import InputError
from semanticvla_jax.models import abstract
from semanticvla_jax.robots import find_robot


def load(name: str, batch: int, changes: dict[str, Any]):
    """The configuration of `FILE.py:words`, at a batch size, with dotted keys changed."""
    return configurations.load(name, {"batch_size": batch, **changes})


def write(path: Path, **told: Any) -> None:
    """Tells `ours`: config, batch, changes, steps."""
    path.write_text(json.dumps(told))


def read(path: str) -> tuple[Any, int]:
    """(configuration, steps) of a file that `write` has written."""
    told = json.loads(Path(path).read_text())
    return load(told["config"], told["batch"], told["changes"]), told["steps"]


def sizes(config) -> dict[str, Any]:
    """What `torch_peft` builds, as plain JSON.

    Raises:
      InputError: no adapters; it trains nothing else of towers and language model.
    """
    model = abstract.complete(config)
    if not model.get("lora"):
        raise InputError(
            "config.model.lora",
            found="none",
            expected="adapters, as PEFT trains them",
            fix="choose a configuration with adapters, or leave --torch out",
        )
    robot, prompt_tokens = find_robot(config.robot), config.data.prompt_length
    return {**plain.sizes(model, robot, prompt_tokens), "lora": model["lora"]}
