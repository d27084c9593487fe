"""Keeping tokens that differ: greedy max-min cosine distance (VLA-Pruner, arXiv 2511.16449)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from semanticvla_jax.models.pruners import unit


def cosine_distances(features: jax.Array) -> jax.Array:
    """f[B, n, d] -> f32[B, n, n], one minus the cosine of each pair."""
    directions = unit(features.astype(jnp.float32))
    return 1 - jnp.einsum("bid,bjd->bij", directions, directions)


def max_min_order(features: jax.Array, candidates: jax.Array, count: int) -> jax.Array:
    """The order in which tokens are picked.

    First the candidate whose nearest other candidate is farthest; then again and again the one
    that is farthest from the picked ones. Of equally far ones that in front. Where there are at
    most `count` tokens at all there is nothing to choose, and they stay in order.

    Args:
      features: f[B, n, d].
      candidates: bool[B, n].
      count: how many to pick.

    Returns:
      int32[B, min(count, n)]; -1 where candidates ran out.
    """
    batch, size = candidates.shape
    if size <= count:
        return jnp.where(candidates, jnp.arange(size, dtype=jnp.int32), -1)

    def one(distances, candidates):
        others = candidates[None, :] & ~jnp.eye(size, dtype=bool)
        alone = jnp.where(others, distances, jnp.inf).min(1)

        def pick(carry, first):
            nearest, left = carry
            far = jnp.where(left, jnp.where(first, alone, nearest), -jnp.inf)
            chosen = far.argmax().astype(jnp.int32)
            nearest = jnp.minimum(nearest, distances[chosen])
            return (nearest, left.at[chosen].set(False)), jnp.where(left[chosen], chosen, -1)

        start = jnp.full((size,), jnp.inf), candidates
        return jax.lax.scan(pick, start, jnp.arange(count) == 0)[1]

    return jax.vmap(one)(cosine_distances(features), candidates)


def max_min_mask(features: jax.Array, candidates: jax.Array, count: int) -> jax.Array:
    """As `max_min_order`, bool[B, n]."""
    order = max_min_order(features, candidates, count)
    size = candidates.shape[1]
    picked = jnp.where(order < 0, size, order)
    batch = jnp.arange(len(order))[:, None]
    return jnp.zeros(candidates.shape, bool).at[batch, picked].set(True, mode="drop")
