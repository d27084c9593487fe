"""FoPru: tokens that the vision encoder attends to go on (arXiv 2411.14164)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from semanticvla_jax.accelerate.scene import Combined, Scene
from semanticvla_jax.accelerate.selection import top_mask
from semanticvla_jax.accelerate.stage import Stage, choosing


def rank(significance: jax.Array) -> jax.Array:
    """Each patch by itself (rank strategy): f32[n, N] -> f32[n, N]."""
    return significance


def row(significance: jax.Array) -> jax.Array:
    """Patches of a row of the image together, by their sum (row strategy)."""
    n, patches = significance.shape
    grid = round(patches**0.5)
    sums = significance.reshape(n, grid, -1).sum(-1)
    return jnp.repeat(sums, patches // grid, axis=1)


@dataclasses.dataclass(frozen=True)
class FoPru(Stage):
    """Before the decoder the most significant tokens of each image go on, in their old order.

    Significance: attention received from all tokens, mean over heads. The paper takes CLIP's second
    to last layer, whose features LLaVA uses; here it is the tower's last block that runs. Tokens
    close ranks: they get consecutive rotary positions, as in LLaVA.

    Attributes:
      drop: share of the tokens that goes; round() of the rest stays.
      strategy: rank or row.
      tower: whose attention counts.
    """

    drop: float = 0.5
    strategy: Callable[[jax.Array], jax.Array] = rank
    tower: str = "siglip"
    name: str = "fopru"

    def combine(self, scene: Scene, state: None) -> tuple[Combined, None]:
        scores = scene.at_anchors(self.strategy(scene.received))
        keep = round(scores.shape[1] * (1 - self.drop))
        return Combined(choosing(top_mask(scores, keep), keep), None), None
