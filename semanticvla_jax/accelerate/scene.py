"""What a method sees of the vision towers when it chooses or merges image tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from semanticvla_jax.errors import InputError
from semanticvla_jax.models.layers import attention_weights
from semanticvla_jax.models.pruners import Selection


class Combined(NamedTuple):
    """What becomes of h anchors of n images.

    weights: f32[n, h', h], the new anchors as sums of the old; None = as they are.
    valid: bool[n, h'], which of them go on; None = all. Rotary positions of the others stay empty.
    """

    weights: jax.Array | None
    valid: jax.Array | None


class Scene(NamedTuple):
    """n = B x I images of N patches, h anchors each; anchors are the tokens methods work on.

    patch: int32[n, h], where each anchor lies.
    received: f32[n, N], attention that each patch gets in the tower's last block that runs, mean
      over heads and over all tokens that ask.
    from_class: f32[n, N], the class token's attention alone; `received` where there is none.
    keys: [n, N, H, Dh] of that block.
    details: of the pruners, each with leading n.
    extras: what the method's `prepare` made of the observation, each with leading [B].
    """

    patch: jax.Array
    received: jax.Array
    from_class: jax.Array
    keys: jax.Array
    details: Mapping[str, jax.Array]
    extras: Mapping[str, Any]

    def at_anchors(self, x: jax.Array) -> jax.Array:
        """[n, N, ...] -> [n, h, ...]."""
        index = self.patch.reshape(*self.patch.shape, *(1,) * (x.ndim - 2))
        return jnp.take_along_axis(x, index, axis=1)

    def per_image(self, x: jax.Array) -> jax.Array:
        """[B, ...] -> [n, ...]."""
        return jnp.repeat(x, self.patch.shape[0] // x.shape[0], axis=0)


def captured(module: Any, method: str) -> bool:
    """Filter for flax's `capture_intermediates`: products that hold queries, keys and values."""
    return module.name == "qkv" and method == "__call__"


def look(
    tower: Any,
    shown: Mapping,
    selected: Mapping[str, Selection],
    extras: Mapping[str, Any],
) -> Scene:
    """The scene as one tower saw it.

    Args:
      tower: VisionTower whose attention counts.
      shown: its captured intermediates.
      selected: what the pruners hand on.
      extras: of the method.
    """
    block = shown[f"blocks_{tower.feature_index}"]["attn"]["qkv"]["__call__"][0]
    n, tokens, width = block.shape
    qkv = block.reshape(n, tokens, 3, tower.heads, width // 3 // tower.heads)
    weights = attention_weights(qkv[:, :, 0], qkv[:, :, 1], None).mean(1)
    patches = slice(tower.prefix, tower.prefix + tower.patches)
    received = weights.mean(1)[:, patches]
    return Scene(
        patch=patches_of_anchors(selected, tower.patches),
        received=received,
        from_class=weights[:, 0, patches] if tower.class_token else received,
        keys=qkv[:, patches, 1],
        details={**selected["dino"].details, **selected["siglip"].details},
        extras=extras,
    )


def patches_of_anchors(selected: Mapping[str, Selection], patches: int) -> jax.Array:
    """int32[n, h]: the patch that an anchor is; SigLIP's where both towers choose their own.

    Raises:
      InputError: anchors are mixtures of patches, so nothing can be said of where they lie.
    """
    for tower in ("siglip", "dino"):
        if "kept_patches" in selected[tower].details:
            return selected[tower].details["kept_patches"]
    n, anchors = selected["siglip"].anchors.shape[:2]
    if anchors != patches:
        raise InputError(
            "image tokens to choose from",
            found=f"{anchors} mixtures of {patches} patches",
            expected="patches, or a choice of them",
            fix="use a method that works inside the decoder, such as vla_pruner",
        )
    return jnp.broadcast_to(jnp.arange(patches, dtype=jnp.int32), (n, patches))
