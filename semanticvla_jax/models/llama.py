"""Llama decoder on embeddings, its layers stacked or unrolled: in one pass, or word by word."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from semanticvla_jax.models.layers import Dense
from semanticvla_jax.models.llama_layer import LlamaLayer, rotary_angles
from semanticvla_jax.models.memory import Memory, Part, Reading
from semanticvla_jax.models.sequence import Landmarks, causal_mask, take_rows


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

    Layer = LlamaLayer  # a class, not a field

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
        x, memory = self.extend_some(x, mask, positions, memory, slot, 0)
        return self.finish(x), memory

    def extend_some(self, x, mask, positions, memory: Memory, slot, first: int):
        """`extend` without the last norm, through `memory`'s layers, which begin with `first`."""
        angles = rotary_angles(positions, self.head_width, self.rope_theta)
        count = memory.keys.shape[0]

        def step(x, inputs):
            params, memory = inputs
            return self._layer.apply({"params": params}, x, mask, angles, memory, slot)

        if self.scan and count == self.depth:
            return jax.lax.scan(step, x, (self.stack, memory))
        if self.scan:
            indices = jnp.arange(first, first + count)
            return jax.lax.scan(
                lambda x, i: step(x, (self._layer_params(i[0]), i[1])), x, (indices, memory)
            )
        parts = []
        for i in range(count):
            one = jax.tree.map(lambda m, i=i: m[i], memory)
            x, part = step(x, (self.unrolled[first + i], one))
            parts.append(part)
        return x, jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)

    def extend_showing(self, x, mask, positions, memory: Memory, slot, index: int):
        """Layer `index` alone: (states, its memory [1, ...], its attention f32[B, H, S, slots])."""
        angles = rotary_angles(positions, self.head_width, self.rope_theta)
        params, one = {"params": self._layer_params(index)}, jax.tree.map(lambda m: m[0], memory)
        (x, one), shown = self._layer.apply(
            params, x, mask, angles, one, slot, mutable=["attention"]
        )
        memory = jax.tree.map(lambda m: m[None], one)
        return x, memory, shown["attention"]["self_attn"]["weights"][0]

    def prefill(self, x: jax.Array, landmarks: Landmarks, room: int) -> tuple[jax.Array, Reading]:
        """Reads a causal prefix, behind which up to `room` words will come one by one.

        Args:
          x: [B, S, width], right padded from `landmarks.start` on.

        Returns:
          (final state of each sample's last row [B, 1, width], what `proceed` needs).
        """
        batch, size = x.shape[:2]
        positions = jnp.arange(size)[None]
        valid = positions < landmarks.start[:, None]
        mask = causal_mask(valid, landmarks.start, 0)
        hidden, memory = self.extend(x, mask, positions, self.empty_memory(batch, size), 0)
        part = Part(memory, jnp.where(valid, positions, -1)).longer(room)
        reading = Reading((part,), landmarks.start, jnp.int32(room))
        return take_rows(hidden, landmarks.start - 1, 1), reading

    def proceed(self, x, word: jax.Array | int, reading: Reading) -> tuple[jax.Array, Reading]:
        """Words x[B, n, width], number `word` and following -> (final states, reading)."""
        positions = reading.positions(word, x.shape[1])
        parts, first = [], 0
        for part in reading.parts:
            slot = reading.slot(part, word)
            part = part.holding(positions, slot)
            mask = part.mask(positions)
            x, memory = self.extend_some(x, mask, positions, part.memory, slot, first)
            parts.append(part._replace(memory=memory))
            first += part.layers
        return self.finish(x), reading._replace(parts=tuple(parts))

    def conclude(self, reading: Reading) -> None:
        """Told when the last word is decoded; for decoders that keep something for later."""

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
        return self.Layer(
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
