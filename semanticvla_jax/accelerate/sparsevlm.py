"""SparseVLM: text raters drop image tokens in three layers and recycle some (arXiv 2410.04417)."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp

from semanticvla_jax.accelerate import salience
from semanticvla_jax.accelerate.selection import top_mask
from semanticvla_jax.accelerate.view import Choice, Cut, View


@dataclasses.dataclass(frozen=True)
class SparseVLM:
    """At each cut the tokens that the raters attend to most stay; of the others some are merged.

    Raters: prompt tokens that the images are about (salience.question_raters). How many stay: the
    released code's fixed numbers for LLaVA, as shares (300, 200 and 110 of 576); the paper derives
    them from the attention matrix's rank, which static shapes cannot follow. Recycling: of what is
    dropped, the 30 % with the largest score form clusters of about ten (density peaks); each
    cluster's mean goes on in its centre's place and rotary position (released: behind the others,
    renumbered). Equal densities are told apart by order instead of noise.

    Attributes:
      layers: each cut's first layer without the dropped tokens, 0-based.
      shares: of the image tokens that stay behind each cut, recycled ones not counted.
    """

    layers: tuple[int, ...] = (3, 7, 16)
    shares: tuple[float, ...] = (300 / 576, 200 / 576, 110 / 576)
    name: str = "sparsevlm"

    def scaled(self, depth: int) -> SparseVLM:
        """For a decoder of `depth` layers; cuts that fall together are one, the last."""
        layers = (max(1, layer * depth // 32) for layer in self.layers)
        cuts = dict(zip(layers, self.shares, strict=True))
        return dataclasses.replace(self, layers=tuple(cuts), shares=tuple(cuts.values()))

    def plan(self, visual: int) -> list[tuple[int, int, int]]:
        """(kept, candidates for recycling, clusters) of each cut."""
        steps, there = [], visual
        for share in self.shares:
            keep = min(max(1, round(visual * share)), there)
            recycled = min(int((there - keep) * 0.3) + 1, there - keep)
            clusters = min(recycled // 10 + 1, recycled)
            steps.append((keep, recycled, clusters))
            there = keep + clusters
        return steps

    def sizes(self, visual: int) -> tuple[int, ...]:
        """The number of tokens that the cuts' sizes are derived from."""
        return (visual,)

    def cuts(self, size: int) -> tuple[Cut, ...]:
        """All cuts for `size` image tokens."""
        return tuple(
            Cut(self.name, layer, step[0] + step[2], functools.partial(_choose, *step))
            for layer, step in zip(self.layers, self.plan(size), strict=True)
        )


def _choose(keep: int, recycled: int, clusters: int, view: View, state: None) -> Choice:
    present = view.rows.present
    scores = view.attention_from(salience.question_raters(view))
    kept = top_mask(scores, keep, present)
    if not clusters:
        return Choice(kept)
    pool = top_mask(scores, recycled, present & ~kept)
    states = view.image(view.hidden)
    centres, members = density_peaks(states, pool, clusters)
    means = jnp.einsum("bij,bjd->bid", members.astype(states.dtype), states)
    return Choice(kept | centres, jnp.where(centres[..., None], means, states))


def density_peaks(states: jax.Array, pool: jax.Array, clusters: int) -> tuple[jax.Array, jax.Array]:
    """Clusters by density peaks with nearest neighbours.

    Args:
      states: [B, n, d].
      pool: bool[B, n], tokens to cluster.
      clusters: how many, also the number of neighbours that density is measured with.

    Returns:
      (centres bool[B, n], f32[B, n, n] whose row i is the share of each token in the mean of the
      cluster around centre i; other rows are zero).
    """
    x = states.astype(jnp.float32)
    squared = jnp.square(x).sum(-1)
    distance = squared[:, :, None] + squared[:, None] - 2 * jnp.einsum("bid,bjd->bij", x, x)
    distance = jnp.sqrt(jnp.maximum(distance, 0) / x.shape[-1])
    size = pool.shape[1]
    distance = jnp.where(jnp.eye(size, dtype=bool), 0.0, distance)
    both = pool[:, :, None] & pool[:, None]
    nearest = jnp.sort(jnp.where(both, distance, jnp.inf), axis=-1)[..., :clusters]
    density = jnp.exp(-jnp.where(jnp.isinf(nearest), 0, nearest**2).mean(-1))
    order = jnp.arange(size)
    equal = density[:, :, None] == density[:, None]
    denser = (density[:, None] > density[:, :, None]) | (equal & (order[None] < order[:, None]))
    farthest = jnp.max(distance, axis=(1, 2), where=both, initial=0.0)[:, None]
    parent = jnp.where(denser & both, distance, jnp.inf).min(-1)
    parent = jnp.minimum(parent, farthest)
    centres = top_mask(parent * density, clusters, pool)
    itself = jnp.eye(size, dtype=bool) & centres[:, :, None]
    to_centre = jnp.where(itself, -1.0, jnp.where(centres[:, :, None], distance, jnp.inf))
    joined = jax.nn.one_hot(to_centre.argmin(1), size, axis=1)
    joined = joined * (pool[:, None] & centres[:, :, None])
    return centres, joined / jnp.maximum(joined.sum(-1, keepdims=True), 1)
