"""Low-rank adapters (LoRA): how a Dense layer carries one, and merging it into the base weights."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict


@dataclasses.dataclass(frozen=True)
class LoRA:
    """Adapter of a Dense layer: y += (x A) B * alpha / rank.

    A ~ N(0, 1 / rank^2) and B = 0, PEFT's "gaussian" initialisation, so the adapted layer starts
    equal to its base. The factors are the parameters `lora_a` f32[in, rank] and `lora_b` f32[rank,
    out] beside `kernel`.
    """

    rank: int
    alpha: float
    param_dtype: Any = jnp.float32

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    def init_a(self, key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
        return jax.random.normal(key, shape, dtype) / self.rank


def merge(params: dict, lora: LoRA) -> dict:
    """Folds every adapter into its kernel, kernel + A B * scale in f32, and removes the adapters.

    Stacked kernels ([layers, in, out]) are folded one after the other, with little extra memory.
    """
    flat = flatten_dict(params)
    merged = {}
    for path, leaf in flat.items():
        if path[-1] in ("lora_a", "lora_b"):
            continue
        if path[-1] == "kernel" and path[:-1] + ("lora_a",) in flat:
            factors = (flat[path[:-1] + (name,)] for name in ("lora_a", "lora_b"))
            leaf = _fold(leaf, *factors, scale=lora.scale)
        merged[path] = leaf
    return unflatten_dict(merged)


def unmerge(merged: dict, adapted: dict, lora: LoRA) -> dict:
    """The inverse of `merge`: takes `adapted`'s adapters out of the kernels of `merged` again."""
    flat, adapters = flatten_dict(merged), flatten_dict(adapted)
    for path, leaf in flat.items():
        if path[-1] == "kernel" and path[:-1] + ("lora_a",) in adapters:
            factors = (adapters[path[:-1] + (name,)] for name in ("lora_a", "lora_b"))
            flat[path] = _fold(leaf, *factors, scale=-lora.scale)
    factors = {p: v for p, v in adapters.items() if p[-1] in ("lora_a", "lora_b")}
    return unflatten_dict({**flat, **factors})


def _fold(kernel: jax.Array, a: jax.Array, b: jax.Array, *, scale: float) -> jax.Array:
    """kernel + A B * scale, computed in f32, in the kernel's own type."""

    def one(layer):
        kernel, a, b = (leaf.astype(jnp.float32) for leaf in layer)
        delta = jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST) * scale
        return (kernel + delta).astype(layer[0].dtype)

    layers = (kernel, a, b)
    return jax.lax.map(one, layers) if kernel.ndim == 3 else one(layers)
