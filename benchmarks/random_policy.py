"""A policy with random weights, created on the device: any configuration without a checkpoint."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.made_up import made_up_interface
from semanticvla_jax.inference.options import DEFAULTS, InferenceOptions, optimised
from semanticvla_jax.models import abstract, build
from semanticvla_jax.policy import Policy
from semanticvla_jax.robots import RobotSpec
from semanticvla_jax.text.tokenizers import PromptTokenizer
from semanticvla_jax.training import parameters


def at_precision(model: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """A model configuration that computes and stores everything in one type."""

    def without(slot: Any) -> Any:
        if not isinstance(slot, Mapping):
            return slot
        return {k: without(v) for k, v in slot.items() if k not in ("dtype", "param_dtype")}

    return {**without(copy.deepcopy(dict(model))), "dtype": dtype, "param_dtype": dtype}


def random_parameters(model: Mapping[str, Any], robot: RobotSpec, seed: int = 0) -> dict:
    """Parameters of a complete `config.model`, without adapters, leaf by leaf on the device.

    Matrices ~ N(0, 1 / fan-in), scales 1, vectors 0: numbers stay finite through any depth.
    """
    shapes = abstract.init(
        build.build(build.for_inference(model)), abstract.abstract_batch(model, robot, 1)
    )
    flat = parameters.flatten(shapes)
    keys = jax.random.split(jax.random.key(seed, impl="rbg"), len(flat))
    return parameters.unflatten(
        {
            name: _leaf(name.rpartition("/")[2] == "scale", leaf.shape, leaf.dtype)(key)
            for (name, leaf), key in zip(flat.items(), keys, strict=True)
        }
    )


@functools.lru_cache
def _leaf(scale: bool, shape: tuple[int, ...], dtype: Any):
    """Key -> array, compiled once per shape."""
    if scale or len(shape) < 2:
        return lambda key: jnp.full(shape, float(scale), dtype)
    std = shape[-2] ** -0.5
    return jax.jit(lambda key: (std * jax.random.normal(key, shape, dtype)).astype(dtype))


def policy(
    model: Mapping[str, Any],
    robot: RobotSpec,
    tokenizer: PromptTokenizer,
    options: InferenceOptions = DEFAULTS,
) -> Policy:
    """A policy of a complete `config.model`, as `load_policy` would give a trained one."""
    built = build.build(build.for_inference(model))
    built, params = optimised(built, random_parameters(model, robot), options)
    told = made_up_interface("random", model["siglip"]["image_size"], robot, tokenizer)
    return Policy(**vars(told), model=built, params=params, options=options)
