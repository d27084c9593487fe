"""SigLIP's text tower, used token by token (the pooling head is never run)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from semanticvla_jax.models.layers import Block, Dense, LayerNorm, run_in_a_loop


class TextTower(nn.Module):
    """Bidirectional text transformer: token and position embeddings, pre-norm blocks, final norm.

    Attributes:
      length: number of positions M of the table; inputs may be shorter.
      scan: run blocks in a loop: see `run_in_a_loop`. For training only.
      remat: recompute block activations in the backward pass.
      activation: Hugging Face SigLIP and big_vision use the tanh form of GELU.
    """

    vocab_size: int
    length: int
    width: int
    depth: int
    heads: int
    mlp_width: int
    activation: str = "gelu_tanh"
    epsilon: float = 1e-6
    scan: bool = False
    remat: bool = False
    kernel_init: str = "torch"
    residual_init: str = "torch"
    embed_std: float = 0.02
    dense: Callable[..., nn.Module] = Dense
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, ids: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """ids int32[B, M], mask bool[B, M] of keys that may be attended -> [B, M, width]."""
        normal = nn.initializers.normal(self.embed_std)
        embed = nn.Embed(
            self.vocab_size,
            self.width,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            embedding_init=normal,
            name="token_embed",
        )
        positions = self.param("pos_embed", normal, (self.length, self.width), self.param_dtype)
        x = embed(ids) + positions[: ids.shape[1]].astype(self.dtype)
        mask = None if mask is None else mask[:, None, None, :]
        block = nn.remat(Block) if self.remat else Block
        blocks = [
            block(
                heads=self.heads,
                mlp_width=self.mlp_width,
                activation=self.activation,
                epsilon=self.epsilon,
                kernel_init=self.kernel_init,
                residual_init=self.residual_init,
                dense=self.dense,
                param_dtype=self.param_dtype,
                name=f"blocks_{i}",
            )
            for i in range(self.depth)
        ]
        if self.scan and not self.is_initializing():
            x = run_in_a_loop(blocks, x, mask, None)
        else:
            for block in blocks:
                x = block(x, mask)
        return LayerNorm(self.epsilon, self.param_dtype, name="norm")(x)
