"""What both implementations are told: a configuration, and its sizes without it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from semanticvla_jax.errors import InputError
from semanticvla_jax.models import abstract
from semanticvla_jax.robots import find_robot

TRANSFORMER = ("width", "depth", "heads", "mlp_width")


def load(name: str, batch: int, changes: dict[str, Any]):
    """The configuration of `FILE.py:words`, at a batch size, with dotted keys changed."""
    path, _, words = name.partition(":")
    if not Path(path).is_file():
        raise InputError(
            "--config",
            found=name,
            expected="a configuration file, such as configs/semanticvla_libero.py",
            fix="correct it",
        )
    spec = importlib.util.spec_from_file_location("configuration", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config(words) if words else module.get_config()
    config.update_from_flattened_dict({"batch_size": batch, **changes})
    return config


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
    robot, model = find_robot(config.robot), abstract.complete(config)
    if not model.get("lora"):
        raise InputError(
            "config.model.lora",
            found="none",
            expected="adapters, as PEFT trains them",
            fix="choose a configuration with adapters, or leave --torch out",
        )
    text, pruners = model["pruners"]["text_encoder"], model["pruners"]
    return {
        **{name: _tower(model[name]) for name in ("dino", "siglip")},
        "text": _some(text, *TRANSFORMER, "vocab_size", "length"),
        "llm": _some(model["llm"], *TRANSFORMER, "vocab_size"),
        "lora": model["lora"],
        "pairs": model["fuser"]["dense_fuser"]["pairs"],
        "queries": pruners["dino"]["queries"],
        "cues": pruners["siglip"]["cues"],
        "state": robot.state_size,
        "heads": [len(group) for group in robot.action_groups.values()],
        "chunk": robot.chunk_length,
        "cameras": len(robot.cameras),
        "prompt_tokens": config.data.prompt_length,
    }


def _tower(slot: dict) -> dict:
    return {
        **_some(slot, *TRANSFORMER, "image_size"),
        "patch": slot["patch_embed"]["patch"],
        "class_token": slot.get("class_token", False),
        "registers": slot.get("registers", 0),
        "checkpointed": slot.get("remat", False),
    }


def _some(slot: dict, *names: str) -> dict:
    return {name: slot[name] for name in names}
