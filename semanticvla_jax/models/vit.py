"""Vision tower: patch embedding, prefix tokens, positions, and blocks run range by range."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from semanticvla_jax.models.layers import Block, Dense, LayerNorm, run_in_a_loop

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# The openvla-7b preprocessor file carries these bfloat16-rounded ImageNet values.
IMAGENET_BFLOAT16 = (
    (0.484375, 0.455078125, 0.40625),
    (0.228515625, 0.2236328125, 0.224609375),
)
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

Modulation = tuple[jax.Array, jax.Array]


def space_to_depth(x: jax.Array, factor: int) -> jax.Array:
    """[B, H, W, C] -> [B, H/f, W/f, f*f*C], channels in (row, column, channel) order."""
    if factor == 1:
        return x
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // factor, factor, width // factor, factor, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // factor, width // factor, -1)


class PatchEmbed(nn.Module):
    """Non-overlapping patches, a convolution of stride `patch`: [B, H, W, 3] -> [B, h, w, width].

    `proj/kernel` is [patch * patch * 3, width], rows in (row, column, channel) order.
    """

    width: int
    patch: int
    kernel_init: str = "torch"
    dense: Callable[..., nn.Module] = Dense

    @nn.compact
    def __call__(self, pixels: jax.Array) -> jax.Array:
        return self.dense(self.width, kernel_init=self.kernel_init, name="proj")(
            space_to_depth(pixels, self.patch)
        )


class ConvolutionalStem(nn.Module):
    """Overlapping stem for towers trained from scratch: [B, H, W, 3] -> [B, h, w, width].

    Each stage merges cells (space-to-depth, Dense, ReLU) and mixes 3x3 neighbours (convolution,
    ReLU); a last merge and Dense reach the tower's width. The patch is the product of all merges.

    Attributes:
      stages: (merge factor, channels after the merge, channels after the 3x3 mix) each.
      last_merge: factor of the last merge.
    """

    width: int
    stages: Sequence[tuple[int, int, int]] = ((4, 32, 48), (2, 64, 64))
    last_merge: int = 1
    kernel_init: str = "lecun"
    dense: Callable[..., nn.Module] = Dense
    param_dtype: Any = jnp.float32

    @property
    def patch(self) -> int:
        product = self.last_merge
        for factor, _, _ in self.stages:
            product *= factor
        return product

    @nn.compact
    def __call__(self, pixels: jax.Array) -> jax.Array:
        x = pixels
        for i, (factor, merged, mixed) in enumerate(self.stages):
            merge = self.dense(merged, kernel_init=self.kernel_init, name=f"merge_{i}")
            x = nn.relu(merge(space_to_depth(x, factor)))
            x = nn.relu(self._mix(x, mixed, f"mix_{i}"))
        return self.dense(self.width, kernel_init=self.kernel_init, name="proj")(
            space_to_depth(x, self.last_merge)
        )

    def _mix(self, x: jax.Array, features: int, name: str) -> jax.Array:
        return nn.Conv(
            features,
            kernel_size=(3, 3),
            dtype=x.dtype,
            param_dtype=self.param_dtype,
            name=name,
        )(x)


class VisionTower(nn.Module):
    """Vision transformer whose blocks run range by range, so that towers can exchange features.

    Token order: [class, registers, patches in raster order, appended queries]. Features are a
    block's output, without a final norm.

    Attributes:
      image_size: side of the square input, pixels.
      class_token, registers: prefix tokens.
      position_on_class: the position table has a row for the class token (older ViTs); otherwise
        positions are added to patches only, before the prefix is put in front (`no_embed_class`).
      cameras: number of position tables; with I > 1, image i of each observation uses table i.
      layer_scale: initial LayerScale, or None.
      feature_layer: index of the block whose output is used; negative counts from the end.
      mean, std: pixel normalisation of inputs scaled to [0, 1].
      final_norm: also own the final LayerNorm, for `normed` (plain encoders only).
      scan: run blocks in a loop: see `run_in_a_loop`. For training only.
      remat: recompute block activations in the backward pass.
    """

    image_size: int
    width: int
    depth: int
    heads: int
    mlp_width: int
    patch_embed: nn.Module
    activation: str = "gelu_exact"
    epsilon: float = 1e-6
    class_token: bool = False
    registers: int = 0
    position_on_class: bool = False
    cameras: int = 1
    layer_scale: float | None = None
    feature_layer: int = -1
    mean: Sequence[float] = HALF[0]
    std: Sequence[float] = HALF[1]
    final_norm: bool = False
    scan: bool = False
    remat: bool = False
    kernel_init: str = "torch"
    residual_init: str = "torch"
    token_std: float = 0.02
    dense: Callable[..., nn.Module] = Dense
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @property
    def patches(self) -> int:
        """Number of patches of an image."""
        return (self.image_size // self.patch_embed.patch) ** 2

    @property
    def prefix(self) -> int:
        """Number of tokens in front of the patches."""
        return self.class_token + self.registers

    @property
    def feature_index(self) -> int:
        """`feature_layer` as a non-negative index."""
        return self.feature_layer % self.depth

    def setup(self):
        normal = nn.initializers.normal(self.token_std)
        token = (1, 1, self.width)
        if self.class_token:
            self.cls_token = self.param("cls_token", normal, token, self.param_dtype)
        if self.registers:
            shape = (1, self.registers, self.width)
            self.reg_token = self.param("reg_token", normal, shape, self.param_dtype)
        rows = self.patches + self.position_on_class
        self.pos_embed = self.param(
            "pos_embed", normal, (self.cameras, rows, self.width), self.param_dtype
        )
        block = nn.remat(Block) if self.remat else Block
        self.blocks = [
            block(
                heads=self.heads,
                mlp_width=self.mlp_width,
                activation=self.activation,
                epsilon=self.epsilon,
                layer_scale=self.layer_scale,
                kernel_init=self.kernel_init,
                residual_init=self.residual_init,
                dense=self.dense,
                param_dtype=self.param_dtype,
            )
            # Blocks behind the feature layer are never run, hence never created.
            for _ in range(self.depth if self.final_norm else self.feature_index + 1)
        ]
        if self.final_norm:
            self.norm = LayerNorm(self.epsilon, self.param_dtype)

    def normalise(self, images: jax.Array) -> jax.Array:
        """uint8[..., 3] -> dtype[..., 3], (x / 255 - mean) / std."""
        mean, std = jnp.asarray(self.mean), jnp.asarray(self.std)
        return ((images.astype(jnp.float32) / 255.0 - mean) / std).astype(self.dtype)

    def embed(self, pixels: jax.Array, queries: jax.Array | None = None) -> jax.Array:
        """Tokens before the first block.

        Args:
          pixels: [n, H, W, 3] normalised; with several cameras n = batch x cameras, camera fastest.
          queries: [Q, D] learned tokens to append without a position, or None.

        Returns:
          [n, prefix + N + Q, D].
        """
        patches = self.patch_embed(pixels.astype(self.dtype))
        n = patches.shape[0]
        patches = patches.reshape(n, -1, self.width)
        positions = self.pos_embed.astype(self.dtype)
        if self.cameras > 1:
            positions = jnp.tile(positions, (n // self.cameras, 1, 1))
        on_class, positions = (
            (positions[:, :1], positions[:, 1:]) if self.position_on_class else (0, positions)
        )
        tokens = [patches + positions]
        if self.registers:
            tokens.insert(0, self._repeat(self.reg_token, n))
        if self.class_token:
            tokens.insert(0, self._repeat(self.cls_token + on_class, n))
        if queries is not None:
            tokens.append(self._repeat(queries[None], n))
        return jnp.concatenate(tokens, axis=1)

    def run(
        self,
        tokens: jax.Array,
        start: int,
        stop: int,
        modulations: Sequence[Modulation] | None = None,
    ) -> jax.Array:
        """Blocks start..stop-1; `modulations[i]` = (scale, shift) of block i, each [n, D]."""
        if self.scan and stop > start and not self.is_initializing():
            given = None if modulations is None else modulations[start:stop]
            return run_in_a_loop(self.blocks[start:stop], tokens, None, given)
        for i in range(start, stop):
            tokens = self.blocks[i](tokens, None, modulations[i] if modulations else None)
        return tokens

    def __call__(
        self,
        pixels: jax.Array,
        queries: jax.Array | None = None,
        modulations: Sequence[Modulation] | None = None,
    ) -> jax.Array:
        """[n, H, W, 3] normalised -> all tokens after the feature layer, [n, prefix + N + Q, D]."""
        tokens = self.embed(pixels, queries)
        return self.run(tokens, 0, self.feature_index + 1, modulations)

    def split(self, tokens: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """[n, prefix + N + Q, D] -> (prefix tokens, patches, queries)."""
        start, stop = self.prefix, self.prefix + self.patches
        return tokens[:, :start], tokens[:, start:stop], tokens[:, stop:]

    def normed(self, tokens: jax.Array) -> jax.Array:
        """The encoder's own final LayerNorm, which a VLA never applies."""
        return self.norm(tokens)

    def _repeat(self, token: jax.Array, n: int) -> jax.Array:
        return jnp.broadcast_to(token.astype(self.dtype), (n, *token.shape[1:]))
