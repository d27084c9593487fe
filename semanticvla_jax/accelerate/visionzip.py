"""VisionZip: dominant tokens go on, the others are merged into a few (arXiv 2412.04467)."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from semanticvla_jax.accelerate.scene import Combined, Scene
from semanticvla_jax.accelerate.selection import compact, top_mask
from semanticvla_jax.accelerate.stage import Stage, choosing
from semanticvla_jax.models.pruners import unit


@dataclasses.dataclass(frozen=True)
class VisionZip(Stage):
    """Before the decoder: dominant tokens in order, then contextual ones.

    Dominant are those that the class token attends to most, or, in towers without one, that
    receive most attention. Of the rest, evenly spaced ones are targets; each other one joins the
    target whose key (mean over heads) is most similar, and a contextual token is its target plus
    the mean of those that joined, as released. The paper's 64 tokens are 54 and 10. Merging weights
    apply to both towers' features alike, in front of the projector. Tokens get consecutive rotary
    positions.

    Attributes:
      drop: share of the tokens that goes; round() of the rest is their number behind the stage.
      contextual: share of contextual ones among those, at least one.
      tower: whose attention and keys count.
    """

    drop: float = 0.5
    contextual: float = 10 / 64
    tower: str = "dino"
    name: str = "visionzip"

    def combine(self, scene: Scene, state: None) -> tuple[Combined, None]:
        anchors = scene.patch.shape[1]
        keep = round(anchors * (1 - self.drop))
        contextual = max(1, round(keep * self.contextual))
        dominant = top_mask(scene.at_anchors(scene.from_class), keep - contextual)
        rest, _ = compact(~dominant, anchors - keep + contextual)
        merged = self._merge(unit(scene.at_anchors(scene.keys).mean(2)), rest, contextual)
        picked = choosing(dominant, keep - contextual)
        return Combined(jnp.concatenate([picked, merged], axis=1), None), None

    def _merge(self, keys: jax.Array, rest: jax.Array, count: int) -> jax.Array:
        """Weights f32[n, count, h] of contextual tokens; keys [n, h, D], rest int32[n, r]."""
        anchors, size = keys.shape[1], rest.shape[1]
        step = max(1, size // count)
        targets = jnp.arange(count) * step
        is_target = jnp.zeros(size, bool).at[targets].set(True)
        own = jax.nn.one_hot(rest, anchors)  # [n, r, h]
        left = jnp.take_along_axis(keys, rest[..., None], axis=1)
        similarity = jnp.einsum("nid,njd->nij", left, left[:, targets])
        joins = jax.nn.one_hot(similarity.argmax(-1), count) * ~is_target[None, :, None]
        share = joins / jnp.maximum(joins.sum(1, keepdims=True), 1)
        return own[:, targets] + jnp.einsum("nrc,nrh->nch", share, own)
