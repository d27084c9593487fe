"""One layer of the Llama decoder: rotary positions, attention with memory, gated MLP."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from semanticvla_jax.errors import choose
from semanticvla_jax.models.layers import ACTIVATIONS, attention_weights, weighted_values
from semanticvla_jax.models.memory import Memory


def rotary_angles(positions: jax.Array, head_dim: int, theta: float) -> jax.Array:
    """int32[B or 1, S] -> f32[B or 1, S, head_dim / 2]: position * theta^(-2 i / head_dim)."""
    frequencies = theta ** (-jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim)
    return positions.astype(jnp.float32)[..., None] * frequencies


def rotate(x: jax.Array, angles: jax.Array) -> jax.Array:
    """Rotary embedding of x[B, S, H, Dh]; dimension i pairs with i + Dh/2, as in Hugging Face."""
    cos, sin = jnp.cos(angles)[:, :, None, :], jnp.sin(angles)[:, :, None, :]
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    rotated = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return rotated.astype(x.dtype)


class LlamaAttention(nn.Module):
    """Multi-head attention with rotary positions; q_proj, k_proj, v_proj, o_proj without biases.

    Its weights f32[B, H, S, slots] are sown as `weights` into the collection `attention`.
    """

    heads: int
    kernel_init: str
    residual_init: str
    dense: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x, mask, angles, memory: Memory | None, slot) -> tuple[jax.Array, Memory]:
        """x[B, S, d] -> [B, S, d], and the memory with these positions written at `slot`."""
        batch, length, width = x.shape
        query, key, value = (
            part.reshape(batch, length, self.heads, -1) for part in self.queries_keys_values(x)
        )
        key = rotate(key, angles)
        memory = Memory(key, value) if memory is None else memory.write(key, value, slot)
        weights = attention_weights(rotate(query, angles), memory.keys, mask)
        self.sow("attention", "weights", weights)
        out = weighted_values(weights, memory.values).reshape(batch, length, width)
        project = self.dense(width, use_bias=False, kernel_init=self.residual_init, name="o_proj")
        return project(out), memory

    def queries_keys_values(self, x: jax.Array) -> Sequence[jax.Array]:
        """[B, S, d] -> three of the same shape."""
        project = functools.partial(
            self.dense, x.shape[-1], use_bias=False, kernel_init=self.kernel_init
        )
        return [project(name=f"{name}_proj")(x) for name in "qkv"]


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
        gate, up = self.gate_and_up(x)
        return self.dense(
            x.shape[-1], use_bias=False, kernel_init=self.residual_init, name="down_proj"
        )(act(gate) * up)

    def gate_and_up(self, x: jax.Array) -> Sequence[jax.Array]:
        """[B, S, d] -> two of [B, S, width]."""
        widen = functools.partial(
            self.dense, self.width, use_bias=False, kernel_init=self.kernel_init
        )
        return [widen(name=f"{name}_proj")(x) for name in ("gate", "up")]


class LlamaLayer(nn.Module):
    """One decoder layer.

    Attributes:
      Attention, MLP: classes of its parts; not fields.
    """

    Attention = LlamaAttention
    MLP = GatedMLP

    heads: int
    mlp_width: int
    activation: str
    rms_epsilon: float
    kernel_init: str
    residual_init: str
    dense: Callable[..., nn.Module]
    param_dtype: Any

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        mask: jax.Array,
        angles: jax.Array,
        memory: Memory | None = None,
        slot: jax.Array | int = 0,
    ) -> tuple[jax.Array, Memory]:
        """x[B, S, d] -> [B, S, d] and the keys and values attended to.

        Args:
          mask: bool[B or 1, 1, S or 1, slots], True = may attend.
          angles: f32[B or 1, S, Dh / 2].
          memory: of one layer, to write to at `slot` and attend to; None = these positions alone.
        """
        norm = functools.partial(
            nn.RMSNorm, self.rms_epsilon, dtype=x.dtype, param_dtype=self.param_dtype
        )
        inits = (self.kernel_init, self.residual_init, self.dense)
        attention = self.Attention(self.heads, *inits, name="self_attn")
        mlp = self.MLP(self.mlp_width, self.activation, *inits, name="mlp")
        attended, memory = attention(norm(name="input_layernorm")(x), mask, angles, memory, slot)
        x = x + attended
        return x + mlp(norm(name="post_attention_layernorm")(x)), memory
