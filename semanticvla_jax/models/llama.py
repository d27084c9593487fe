"""Llama decoder on embeddings: RMSNorm, rotary positions, gated MLP; layers stacked or unrolled."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from semanticvla_jax.errors import choose
from semanticvla_jax.models.layers import (
    ACTIVATIONS,
    Dense,
    attention_weights,
    weighted_values,
)
from semanticvla_jax.models.sequence import Landmarks


class Memory(NamedTuple):
    """Keys and values of earlier positions: [B, slots, H, Dh], stacked [depth, ...] for a model."""

    keys: jax.Array
    values: jax.Array

    def write(self, keys: jax.Array, values: jax.Array, slot: jax.Array | int) -> Memory:
        """Puts one layer's keys and values [B, S, H, Dh] at slots `slot` to `slot + S - 1`."""
        put = functools.partial(jax.lax.dynamic_update_slice_in_dim, start_index=slot, axis=1)
        return Memory(put(self.keys, keys), put(self.values, values))

    def longer(self, slots: int) -> Memory:
        """A whole model's memory with `slots` more, empty ones."""
        return jax.tree.map(
            lambda x: jnp.pad(x, ((0, 0),) * 2 + ((0, slots),) + ((0, 0),) * 2), self
        )


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
        project = functools.partial(self.dense, width, use_bias=False)
        query, key, value = (
            project(kernel_init=self.kernel_init, name=f"{name}_proj")(x).reshape(
                batch, length, self.heads, -1
            )
            for name in "qkv"
        )
        key = rotate(key, angles)
        memory = Memory(key, value) if memory is None else memory.write(key, value, slot)
        weights = attention_weights(rotate(query, angles), memory.keys, mask)
        self.sow("attention", "weights", weights)
        out = weighted_values(weights, memory.values).reshape(batch, length, width)
        return project(kernel_init=self.residual_init, name="o_proj")(out), memory


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
    """One decoder layer."""

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
        attention = LlamaAttention(self.heads, *inits, name="self_attn")
        mlp = GatedMLP(self.mlp_width, self.activation, *inits, name="mlp")
        attended, memory = attention(norm(name="input_layernorm")(x), mask, angles, memory, slot)
        x = x + attended
        return x + mlp(norm(name="post_attention_layernorm")(x)), memory


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

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    def setup(self):
        self.embed_tokens = nn.Embed(
            self.vocab_size,
            self.width,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            embedding_init=nn.initializers.normal(self.embed_std),
        )
        if self.scan:
            self.stack = self.param("layers", self._init_stack)
        else:
            self.unrolled = [self.param(f"layers_{i}", self._init_layer) for i in range(self.depth)]
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

    def __call__(
        self, x: jax.Array, mask: jax.Array, landmarks: Landmarks | None = None
    ) -> jax.Array:
        """All positions in one pass.

        Args:
          x: [B, S, width].
          mask: bool[B or 1, 1, S, S], True = may attend.
          landmarks: for decoders that treat image tokens differently; not used here.

        Returns:
          Final states [B, S, width].
        """
        x = self.run(x, mask, jnp.arange(x.shape[1])[None], 0, self.depth)
        return self.finish(x)

    def empty_memory(self, batch: int, slots: int) -> Memory:
        """Memory of all layers for `slots` positions, to be filled by `extend`."""
        shape = (self.depth, batch, slots, self.heads, self.head_width)
        return Memory(jnp.zeros(shape, self.dtype), jnp.zeros(shape, self.dtype))

    def extend(
        self,
        x: jax.Array,
        mask: jax.Array,
        positions: jax.Array,
        memory: Memory,
        slot: jax.Array | int,
    ) -> tuple[jax.Array, Memory]:
        """Some more positions, which attend to remembered ones too.

        Args:
          x: [B, S, width].
          mask: bool[B or 1, 1, S, slots], True = may attend; these positions' own slots included.
          positions: int32[B or 1, S], for the rotary embedding.
          memory: of all layers.
          slot: where these positions are written.

        Returns:
          (final states [B, S, width], memory with these positions).
        """
        angles = rotary_angles(positions, self.head_width, self.rope_theta)

        def step(x, inputs):
            params, memory = inputs
            return self._layer.apply({"params": params}, x, mask, angles, memory, slot)

        if self.scan:
            x, memory = jax.lax.scan(step, x, (self.stack, memory))
        else:
            parts = []
            for i, params in enumerate(self.unrolled):
                x, part = step(x, (params, jax.tree.map(lambda m, i=i: m[i], memory)))
                parts.append(part)
            memory = jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)
        return self.finish(x), memory

    def run(self, x, mask, positions, start: int, stop: int) -> jax.Array:
        """Layers start..stop-1 on all positions: x[B, S, width], positions int32[B or 1, S]."""
        angles = rotary_angles(positions, self.head_width, self.rope_theta)

        def step(x, params):
            return self._layer.apply({"params": params}, x, mask, angles)[0], None

        if self.remat:
            policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
            step = jax.checkpoint(step, policy=policy, prevent_cse=not self.scan)
        with jax.named_scope("layers"):
            if not self.scan:
                for params in self.unrolled[start:stop]:
                    x, _ = step(x, params)
                return x
            if (start, stop) == (0, self.depth):
                return jax.lax.scan(step, x, self.stack)[0]
            # Indexed inside the loop: a slice of the stack would be copied.
            indices = jnp.arange(start, stop)
            return jax.lax.scan(lambda x, i: step(x, self._layer_params(i)), x, indices)[0]

    def run_showing(self, x, mask, positions, index: int) -> tuple[jax.Array, jax.Array]:
        """Layer `index` alone, with its attention weights f32[B, H, S, S]."""
        angles = rotary_angles(positions, self.head_width, self.rope_theta)
        params = {"params": self._layer_params(index)}
        (x, _), shown = self._layer.apply(params, x, mask, angles, mutable=["attention"])
        return x, shown["attention"]["self_attn"]["weights"][0]

    def finish(self, x: jax.Array) -> jax.Array:
        """The norm behind the last layer."""
        x = self.norm(x)
        if self.lm_head and self.is_initializing():
            self.logits(x[:, :1])
        return x

    def _layer_params(self, index: jax.Array | int) -> dict:
        if not self.scan:
            return self.unrolled[index]
        take = functools.partial(jax.lax.dynamic_index_in_dim, index=index, keepdims=False)
        return jax.tree.map(take, self.stack)

    @property
    def _layer(self) -> LlamaLayer:
        return LlamaLayer(
            self.heads,
            self.mlp_width,
            self.activation,
            self.rms_epsilon,
            self.kernel_init,
            self.residual_init,
            self.dense,
            self.param_dtype,
            parent=None,
        )

    def _init_layer(self, key: jax.Array) -> dict:
        x, angles = jnp.zeros((1, 1, self.width)), jnp.zeros((1, 1, self.head_width // 2))
        return self._layer.init(key, x, jnp.ones((1, 1, 1, 1), bool), angles)["params"]

    def _init_stack(self, key: jax.Array) -> dict:
        return jax.vmap(self._init_layer)(jax.random.split(key, self.depth))
