"""Attention that no output carries, for figures; `SelfAttention` sows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax


def aggregation_attention(model, sown: Mapping[str, Any], images: int) -> jax.Array | None:
    """Where the aggregation tokens look in the last block that runs.

    Args:
      model: a SemanticVLA.
      sown: the collection "intermediates" of `model.apply(..., mutable="intermediates")`.
      images: I, per observation.

    Returns:
      f32[B, I, Q, N]: mean over heads. What a row lacks to 1 went to tokens that are no patches.
      None where the model has no such tokens, or runs its blocks in a loop (what they sow is lost).
    """
    tower = model.dino
    block = sown.get("dino", {}).get(f"blocks_{tower.feature_index}")
    start, stop = tower.prefix, tower.prefix + tower.patches
    if block is None or block["attn"]["weights"][0].shape[-1] == stop:
        return None
    (weights,) = block["attn"]["weights"]
    attention = weights[:, :, stop:, start:stop].mean(1)
    return attention.reshape(-1, images, *attention.shape[1:])
