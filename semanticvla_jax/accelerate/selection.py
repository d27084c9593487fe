"""Choosing tokens with static shapes: masks, their compaction, and the way back."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def top_mask(
    scores: jax.Array, count: jax.Array | int, present: jax.Array | None = None
) -> jax.Array:
    """The `count` largest of each row; of equal ones those in front.

    Args:
      scores: f[B, n].
      count: how many, int32[B] or the same for all; more than there are = all.
      present: bool[B, n], which may be chosen; None = all.

    Returns:
      bool[B, n].
    """
    scores = scores.astype(jnp.float32)
    if present is not None:
        scores = jnp.where(present, scores, -jnp.inf)
    order = jnp.argsort(-scores, axis=-1, stable=True)
    rank = jnp.argsort(order, axis=-1)
    chosen = rank < jnp.reshape(jnp.asarray(count), (-1, 1))
    return chosen if present is None else chosen & present


def compact(mask: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """Chosen ones first, in their order, in `size` slots.

    Args:
      mask: bool[B, n]; of more than `size` chosen ones the last are lost.
      size: at most n.

    Returns:
      (index int32[B, size], valid bool[B, size]); slots that are not valid name others.
    """
    index = jnp.argsort(~mask, axis=-1, stable=True)[:, :size].astype(jnp.int32)
    return index, jnp.take_along_axis(mask, index, axis=1)


def scatter(values: jax.Array, index: jax.Array, valid: jax.Array, size: int) -> jax.Array:
    """Back to where they came from: values[..., n] -> [..., size], zero elsewhere.

    Args:
      values: [B, ..., n].
      index: int32[B, n].
      valid: bool[B, n]; others are left out.
    """
    target = jnp.where(valid, index, size)

    def one(values, target):
        empty = jnp.zeros((*values.shape[:-1], size), values.dtype)
        return empty.at[..., target].set(values, mode="drop")

    return jax.vmap(one)(values, target)
