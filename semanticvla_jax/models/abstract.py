"""A configured model on abstract arrays: nothing of its size is ever allocated."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from semanticvla_jax.errors import InputError
from semanticvla_jax.robots import RobotSpec, find_robot

TEXT_LENGTH = 64  # of models without a text tower, whose batches carry text all the same


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config.model` as training builds it, but with the vocabulary sizes it states itself.

    So a plan needs no vocabulary files.

    Raises:
      InputError: the configuration has no `model`.
    """
    if "model" not in config:
        raise InputError(
            "configuration",
            found=f"entries {sorted(config)}",
            expected="an entry `model`, as in configs/libero_tiny.py",
            fix="name a training configuration",
        )
    model = copy.deepcopy(_plain(config["model"]))
    model["coupler"]["chunk"] = find_robot(config["robot"]).chunk_length
    text = model["pruners"].get("text_encoder")
    if text:
        text["length"] = config.get("data", {}).get("text_length", text["length"])
    return model


def abstract_batch(
    config: Mapping[str, Any], robot: RobotSpec, prompt_tokens: int
) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of one observation: see SemanticVLA's `Batch`."""
    size = config["siglip"]["image_size"]
    text_length = (config["pruners"].get("text_encoder") or {}).get("length", TEXT_LENGTH)
    shape = jax.ShapeDtypeStruct
    return {
        "images": shape((1, len(robot.cameras), size, size, 3), jnp.uint8),
        "state": shape((1, robot.state_size), jnp.float32),
        "prompt_ids": shape((1, prompt_tokens), jnp.int32),
        "prompt_mask": shape((1, prompt_tokens), jnp.bool_),
        "text_ids": shape((1, text_length), jnp.int32),
    }


def init(model: nn.Module, *arguments: Any, method: Any = None) -> dict[str, Any]:
    """Shapes of the parameters that `model.init` would create."""
    return jax.eval_shape(lambda *a: model.init(jax.random.key(0), *a, method=method), *arguments)[
        "params"
    ]


def _plain(config: Any) -> Any:
    """ConfigDicts -> dicts."""
    return config.to_dict() if hasattr(config, "to_dict") else config
