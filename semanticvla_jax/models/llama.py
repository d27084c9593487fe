"""Llama decoder on embeddings: RMSNorm, rotary positions, gated MLP; layers scanned or unrolled."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from semanticvla_jax.models.layers import ACTIVATIONS, Dense, attend, choose


def rotary_angles(length: int, head_dim: int, theta: float) -> jax.Array:
    """f32[length, head_dim / 2]: position * theta^(-2 i / head_dim)."""
    frequencies = theta ** (-jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim)
    return jnp.arange(length, dtype=jnp.float32)[:, None] * frequencies


def rotate(x: jax.Array, angles: jax.Array) -> jax.Array:
    """Rotary embedding of x[B, S, H, Dh]; dimension i pairs with i + Dh/2, as in Hugging Face."""
    cos, sin = jnp.cos(angles)[:, None, :], jnp.sin(angles)[:, None, :]
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    rotated = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return rotated.astype(x.dtype)


class LlamaAttention(nn.Module):
    """Multi-head attention with rotary positions; q_proj, k_proj, v_proj, o_proj without biases."""

    heads: int
    rope_theta: float
    kernel_init: str
    residual_init: str
    dense: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        batch, length, width = x.shape
        project = functools.partial(self.dense, width, use_bias=False)
        query, key, value = (
            project(kernel_init=self.kernel_init, name=f"{name}_proj")(x).reshape(
                batch, length, self.heads, -1
            )
            for name in "qkv"
        )
        angles = rotary_angles(length, width // self.heads, self.rope_theta)
        out = attend(rotate(query, angles), rotate(key, angles), value, mask)
        return project(kernel_init=self.residual_init, name="o_proj")(
            out.reshape(batch, length, width)
        )


class GatedMLP(nn.Module):
    """down_proj(act(gate_proj(x)) * up_proj(x)), without biases."""

    width: int
    activation: str
    kernel_init: str
    residual_init: str
    dense: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        act = choose(ACTIVATIONS, self.activation, "activation")
        widen = functools.partial(
            self.dense, self.width, use_bias=False, kernel_init=self.kernel_init
        )
        hidden = act(widen(name="gate_proj")(x)) * widen(name="up_proj")(x)
        return self.dense(
            x.shape[-1], use_bias=False, kernel_init=self.residual_init, name="down_proj"
        )(hidden)


class LlamaLayer(nn.Module):
    """One decoder layer; returns (x, None), the carry form that a scan wants."""

    heads: int
    mlp_width: int
    activation: str
    rms_epsilon: float
    rope_theta: float
    kernel_init: str
    residual_init: str
    dense: Callable[..., nn.Module]
    param_dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, None]:
        norm = functools.partial(
            nn.RMSNorm, self.rms_epsilon, dtype=x.dtype, param_dtype=self.param_dtype
        )
        attention = LlamaAttention(
            self.heads,
            self.rope_theta,
            self.kernel_init,
            self.residual_init,
            self.dense,
            name="self_attn",
        )
        mlp = GatedMLP(
            self.mlp_width,
            self.activation,
            self.kernel_init,
            self.residual_init,
            self.dense,
            name="mlp",
        )
        x = x + attention(norm(name="input_layernorm")(x), mask)
        x = x + mlp(norm(name="post_attention_layernorm")(x))
        return x, None


class Llama(nn.Module):
    """Decoder over given embeddings; `embed` gives those of token ids.

    Attributes:
      scan: stack the layers' parameters as `layers/...` [depth, ...] and scan over them, so that
        one layer is compiled; otherwise `layers_0/...`, `layers_1/...`.
      remat: recompute each layer in the backward pass, but for products without batch dimensions.
      lm_head: own the vocabulary head, for token decoding and complete checkpoints.
    """

    vocab_size: int
    width: int
    depth: int
    heads: int
    mlp_width: int
    activation: str = "silu"
    rms_epsilon: float = 1e-6
    rope_theta: float = 10000.0
    scan: bool = False
    remat: bool = False
    lm_head: bool = False
    kernel_init: str = "normal_0.02"
    residual_init: str = "normal_0.02"
    embed_std: float = 0.02
    dense: Callable[..., nn.Module] = Dense
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def setup(self):
        self.embed_tokens = nn.Embed(
            self.vocab_size,
            self.width,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            embedding_init=nn.initializers.normal(self.embed_std),
        )
        layer = LlamaLayer
        if self.remat:
            layer = nn.remat(
                layer,
                prevent_cse=not self.scan,
                policy=jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
            )
        arguments = dict(
            heads=self.heads,
            mlp_width=self.mlp_width,
            activation=self.activation,
            rms_epsilon=self.rms_epsilon,
            rope_theta=self.rope_theta,
            kernel_init=self.kernel_init,
            residual_init=self.residual_init,
            dense=self.dense,
            param_dtype=self.param_dtype,
        )
        if self.scan:
            self.layers = nn.scan(
                layer,
                variable_axes={"params": 0},
                split_rngs={"params": True},
                in_axes=nn.broadcast,
                length=self.depth,
            )(**arguments)
        else:
            self.layers = [layer(**arguments) for _ in range(self.depth)]
        self.norm = nn.RMSNorm(self.rms_epsilon, dtype=self.dtype, param_dtype=self.param_dtype)
        if self.lm_head:
            self.head = self.dense(
                self.vocab_size, use_bias=False, kernel_init=self.kernel_init, name="lm_head"
            )

    def embed(self, ids: jax.Array) -> jax.Array:
        """int32[...] -> [..., width], the input embeddings."""
        return self.embed_tokens(ids)

    def logits(self, hidden: jax.Array) -> jax.Array:
        """[..., width] final hidden states -> [..., vocab_size]."""
        return self.head(hidden)

    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        """x[B, S, width], mask bool[B or 1, 1, S, S] -> final states [B, S, width]."""
        if self.scan:
            x, _ = self.layers(x, mask)
        else:
            for layer in self.layers:
                x, _ = layer(x, mask)
        x = self.norm(x)
        if self.lm_head and self.is_initializing():
            self.logits(x[:, :1])
        return x
