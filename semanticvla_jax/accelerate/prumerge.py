"""PruMerge: outliers of the class attention go on, merged with their like (arXiv 2403.15388)."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from semanticvla_jax.accelerate.scene import Combined, Scene
from semanticvla_jax.accelerate.selection import compact, top_mask
from semanticvla_jax.accelerate.stage import Stage
from semanticvla_jax.models.pruners import unit


@dataclasses.dataclass(frozen=True)
class PruMerge(Stage):
    """Before the decoder: as many tokens of each image as its attention has outliers.

    Attention: of the class token, or received where there is none; mean over heads (the released
    code takes one softmax over heads side by side). Outliers: above Q3 + 1.5 (Q3 - Q1). Each kept
    token is itself plus the attention-weighted sum of the `neighbours` others whose keys are most
    similar, weights as they are (released; the paper speaks of an average); one more token is the
    attention-weighted sum of all that were not kept. Merging weights apply to both towers' features
    alike, in front of the projector. Tokens of an image get consecutive rotary positions; the next
    image's begin behind `most` slots.

    Attributes:
      most: share of the tokens that slots are made for; more outliers than that are cut off.
      levels: shares of all image tokens behind the stage that programs are compiled for.
    """

    neighbours: int = 32
    most: float = 0.5
    levels: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    tower: str = "dino"
    name: str = "prumerge"

    def combine(self, scene: Scene, state: None) -> tuple[Combined, None]:
        attention = scene.at_anchors(scene.from_class)
        n, anchors = attention.shape
        slots = max(1, round(anchors * self.most))
        low, high = (jnp.quantile(attention, q, axis=1, keepdims=True) for q in (0.25, 0.75))
        outliers = (attention > high + 1.5 * (high - low)).sum(1)
        kept = top_mask(attention, jnp.minimum(outliers, slots))
        index, valid = compact(kept, slots)
        own = jax.nn.one_hot(index, anchors)
        weights = own + self._neighbourhood(scene, index) * attention[:, None]
        remainder = jnp.where(kept, 0, attention)[:, None]
        # The extra token takes the first free slot, so that positions are consecutive.
        count = valid.sum(1)
        place = jax.nn.one_hot(count, slots + 1)[..., None]
        weights = jnp.pad(weights * valid[..., None], ((0, 0), (0, 1), (0, 0)))
        valid = jnp.arange(slots + 1)[None] <= count[:, None]
        return Combined(weights + place * remainder, valid), None

    def _neighbourhood(self, scene: Scene, index: jax.Array) -> jax.Array:
        """f32[n, k, h], 1 for the anchors whose keys are nearest to those of int32[n, k]."""
        keys = scene.at_anchors(scene.keys)
        keys = unit(keys.reshape(*keys.shape[:2], -1).astype(jnp.float32))
        chosen = jnp.take_along_axis(keys, index[..., None], axis=1)
        similarity = jnp.einsum("nkd,nhd->nkh", chosen, keys)
        anchors = keys.shape[1]
        itself = jax.nn.one_hot(index, anchors) > 0
        similarity = jnp.where(itself, -jnp.inf, similarity).reshape(-1, anchors)
        near = top_mask(similarity, min(self.neighbours, anchors - 1))
        return near.reshape(*index.shape, anchors).astype(jnp.float32)
