"""The types that a model computes in, and parameters stored in them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from semanticvla_jax.errors import choose
from semanticvla_jax.training import parameters

DTYPES = ("float32", "bfloat16", "float16")


def computing_in(config: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """`config.model` with every part computing in `dtype`; "" changes nothing.

    Raises:
      InputError: no such type.
    """
    if not dtype:
        return dict(config)
    choose({name: name for name in DTYPES}, dtype, "--dtype")

    def without(slot: Any) -> Any:
        if not isinstance(slot, Mapping):
            return slot
        return {name: without(value) for name, value in slot.items() if name != "dtype"}

    return {**without(copy.deepcopy(dict(config))), "dtype": dtype}


def stored_as_computed(model: nn.Module, params: dict) -> dict:
    """Kernels, their biases and embeddings in the type that their part computes in.

    Actions stay the same bit for bit, since that conversion happens at every use otherwise; norms,
    which compute in float32 whatever the type, are left alone.

    Args:
      model: SemanticVLA.
      params: its parameters.
    """
    flat = parameters.flatten(params)

    def stored(name: str, leaf: jax.Array) -> jax.Array:
        owner, _, last = name.rpartition("/")
        if last not in ("kernel", "embedding") and f"{owner}/kernel" not in flat:
            return leaf
        dtype = _computes_in(model, owner)
        smaller = dtype is not None and jnp.dtype(dtype).itemsize < leaf.dtype.itemsize
        return leaf.astype(dtype) if smaller else leaf

    return parameters.unflatten({name: stored(name, leaf) for name, leaf in flat.items()})


def parameter_bytes(params: Any) -> int:
    """Of all arrays together, as an accelerator stores them (two int4 to a byte)."""

    def bits(dtype) -> int:
        whole = jnp.issubdtype(dtype, jnp.integer)
        return (jnp.iinfo(dtype) if whole else jnp.finfo(dtype)).bits

    return sum(leaf.size * bits(leaf.dtype) // 8 for leaf in jax.tree.leaves(params))


def _computes_in(model: nn.Module, path: str) -> Any:
    """The type of the innermost configured part on a parameter's path; None if it has none."""
    part = model
    for name in path.split("/"):
        inner = getattr(part, name, None)
        if not isinstance(inner, nn.Module):
            break
        part = inner
    keywords = getattr(getattr(part, "dense", None), "keywords", {})
    return keywords.get("dtype") or getattr(part, "dtype", None)
