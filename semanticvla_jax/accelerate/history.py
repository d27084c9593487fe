"""What the actions of the last steps looked at, and what that says about the next."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp


class History(NamedTuple):
    """State of an episode.

    vectors: f32[B, w, V], attention to each image token, oldest first; zero before there are any.
    count: int32[B], steps remembered, at most w.
    """

    vectors: jax.Array
    count: jax.Array

    @classmethod
    def empty(cls, batch: int, window: int, visual: int) -> History:
        return cls(jnp.zeros((batch, window, visual), jnp.float32), jnp.zeros(batch, jnp.int32))

    @property
    def full(self) -> jax.Array:
        """bool[B], whether there is enough to go by."""
        return self.count == self.vectors.shape[1]

    def append(self, vector: jax.Array) -> History:
        """With the newest step f32[B, V]; the oldest is forgotten."""
        vectors = jnp.concatenate([self.vectors[:, 1:], vector[:, None]], axis=1)
        return History(vectors, jnp.minimum(self.count + 1, self.vectors.shape[1]))

    def guidance(self, weights: jax.Array) -> jax.Array:
        """Average under weights f32[w], oldest first, scaled to sum 1: f32[B, V]."""
        total = jnp.einsum("w,bwv->bv", weights, self.vectors)
        return total / jnp.maximum(total.sum(1, keepdims=True), jnp.finfo(jnp.float32).tiny)


def oldest_heaviest(window: int, decay: float) -> jax.Array:
    """1, decay, decay^2 ... from the oldest: VLA-Pruner as released."""
    return decay ** jnp.arange(window, dtype=jnp.float32)


def newest_heaviest(window: int, decay: float) -> jax.Array:
    """... decay^2, decay, 1 to the newest: VLA-Pruner as its paper has it."""
    return decay ** jnp.arange(window - 1, -1, -1, dtype=jnp.float32)
