"""FastV: the decoder drops image tokens that receive little attention, behind an early layer."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from semanticvla_jax.models.llama import Llama
from semanticvla_jax.models.pruners import take_rows, top_k_in_order
from semanticvla_jax.models.sequence import Landmarks


class FastVLlama(Llama):
    """Llama that keeps few image tokens from layer `prune_before` on (FastV, arXiv 2403.06764).

    Score: what the prompt's last row attends to each image token in the layer before, mean over
    heads. The kept ones keep their positions. FastV is defined for causal decoding; with parallel
    decoding the same row is used, and action placeholders play no part in the choice.

    Attributes:
      keep: share of the image tokens that stays.
      prune_before: first layer that runs without the dropped ones (0-based).
    """

    keep: float = 0.5
    prune_before: int = 2

    def __call__(
        self, x: jax.Array, mask: jax.Array, landmarks: Landmarks | None = None
    ) -> jax.Array:
        """As Llama; states of dropped rows are zero."""
        positions = jnp.arange(x.shape[1])[None]
        x = self.run(x, mask, positions, 0, self.prune_before - 1)
        x, weights = self.run_showing(x, mask, positions, self.prune_before - 1)
        visual = landmarks.visual.stop - landmarks.visual.start
        index = kept_rows(weights, landmarks, round(visual * self.keep))
        mask = jnp.broadcast_to(mask, (x.shape[0], *mask.shape[1:]))
        mask = jnp.take_along_axis(mask, index[:, None, :, None], axis=2)
        mask = jnp.take_along_axis(mask, index[:, None, None, :], axis=3)
        short = self.run(take_rows(x, index), mask, index, self.prune_before, self.depth)
        batch = jnp.arange(x.shape[0])[:, None]
        return jnp.zeros_like(x).at[batch, index].set(self.finish(short))


def kept_rows(weights: jax.Array, landmarks: Landmarks, keep: int) -> jax.Array:
    """Attention f32[B, H, S, S] -> int32[B, S'], the rows that stay, ascending."""
    batch, _, _, size = weights.shape
    visual = landmarks.visual
    from_prompt = jnp.take_along_axis(
        weights.mean(1), (landmarks.start - 1)[:, None, None], axis=1
    )[:, 0]
    kept = visual.start + top_k_in_order(from_prompt[:, visual], keep)
    before = jnp.broadcast_to(jnp.arange(visual.start), (batch, visual.start))
    after = jnp.broadcast_to(jnp.arange(visual.stop, size), (batch, size - visual.stop))
    return jnp.concatenate([before, kept, after], axis=1)
