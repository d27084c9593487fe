"""Semantic-conditioned action coupler: the decoder's sequence, attention mask and read-out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from semanticvla_jax.models.layers import MLP, Dense


class Sequence(NamedTuple):
    """Decoder input: [BOS][images][proprioception][prompt][placeholders][stop][pads].

    embeddings: [B, S, d]; valid: bool[B, S], False on pads; mask: bool[B, 1, S, S], True = attend;
    start: int32[B], position of the first placeholder.
    """

    embeddings: jax.Array
    valid: jax.Array
    mask: jax.Array
    start: jax.Array


def causal_mask(valid: jax.Array, start: jax.Array, length: int) -> jax.Array:
    """Every row sees the valid positions up to itself. bool[B, S] -> bool[B, 1, S, S]."""
    del start, length
    positions = jnp.arange(valid.shape[1])
    return (valid[:, None, :] & (positions[:, None] >= positions[None, :]))[:, None]


def hybrid_mask(valid: jax.Array, start: jax.Array, length: int) -> jax.Array:
    """Causal, and the action block (placeholders and stop) bidirectional within itself.

    Args:
      valid: bool[B, S], False on pads.
      start: int32[B], first row of the action block.
      length: of the action block.

    Returns:
      bool[B, 1, S, S]; the prefix never sees the block.
    """
    offset = jnp.arange(valid.shape[1])[None, :] - start[:, None]
    block = (offset >= 0) & (offset < length)
    return causal_mask(valid, start, length) | (block[:, :, None] & block[:, None, :])[:, None]


def prefix_bidirectional_mask(valid: jax.Array, start: jax.Array, length: int) -> jax.Array:
    """Prefix bidirectional within itself, and the action block sees everything valid."""
    offset = jnp.arange(valid.shape[1])[None, :] - start[:, None]
    prefix = offset < 0
    seen = ~prefix[:, :, None] | prefix[:, None, :]
    return (valid[:, None, :] & seen)[:, None]


def full_mask(valid: jax.Array, start: jax.Array, length: int) -> jax.Array:
    """Every row sees every valid position."""
    del start, length
    batch, size = valid.shape
    return jnp.broadcast_to(valid[:, None, None, :], (batch, 1, size, size))


def shifted_left(start: jax.Array) -> jax.Array:
    """First row read: one before the first placeholder, the next-token convention as released."""
    return start - 1


def aligned(start: jax.Array) -> jax.Array:
    """First row read: the first placeholder itself, as in the paper."""
    return start


class ZeroPlaceholders(nn.Module):
    """All-zero placeholders, as released: only the rotary position tells them apart."""

    tokens: int
    llm_width: int

    def __call__(self, proprioception: jax.Array) -> jax.Array:
        """[B, d] -> [1, tokens, d]."""
        return jnp.zeros((1, self.tokens, self.llm_width), proprioception.dtype)


class TypedPlaceholders(nn.Module):
    """One learned vector per token type of a step, repeated over the chunk."""

    tokens: int
    tokens_per_step: int
    llm_width: int
    std: float = 0.02
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, proprioception: jax.Array) -> jax.Array:
        """[B, d] -> [1, tokens, d]."""
        shape = (self.tokens_per_step, self.llm_width)
        types = self.param("types", nn.initializers.normal(self.std), shape, self.param_dtype)
        return jnp.tile(types, (self.tokens // self.tokens_per_step, 1))[None].astype(
            proprioception.dtype
        )


class ProprioceptivePlaceholders(nn.Module):
    """A learned vector per placeholder plus the proprioception token: for shallow decoders."""

    tokens: int
    llm_width: int
    std: float = 0.1
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, proprioception: jax.Array) -> jax.Array:
        """[B, d] -> [B, tokens, d]."""
        shape = (self.tokens, self.llm_width)
        learned = self.param("learned", nn.initializers.normal(self.std), shape, self.param_dtype)
        return learned.astype(proprioception.dtype) + proprioception[:, None]


class ActionCoupler(nn.Module):
    """Builds the decoder's sequence and reads the action tokens' states from its output.

    Prompts of different lengths need no common length: each sample's action block follows its own
    prompt directly and pads come last, so every sample's result equals its unpadded computation.

    Attributes:
      placeholders: module, proprioception token [B, d] -> [B or 1, chunk * tokens_per_step, d].
      mask: function (valid, start, length) -> bool[B, 1, S, S].
      first_row: function start -> first row read.
      chunk, tokens_per_step: K and T.
      llm_width: of the language model.
      bos_id, stop_id: token ids in front and behind.
    """

    placeholders: nn.Module
    chunk: int
    tokens_per_step: int
    llm_width: int
    mask: Callable[[jax.Array, jax.Array, int], jax.Array] = hybrid_mask
    first_row: Callable[[jax.Array], jax.Array] = shifted_left
    bos_id: int = 1
    stop_id: int = 2
    activation: str = "gelu_exact"
    kernel_init: str = "torch"
    dense: Callable[..., nn.Module] = Dense

    @property
    def tokens(self) -> int:
        """Number of action tokens, K * T."""
        return self.chunk * self.tokens_per_step

    def setup(self):
        widths = (self.llm_width, self.llm_width)
        self.proprio_projector = MLP(widths, self.activation, self.kernel_init, dense=self.dense)

    def language_ids(self, prompt_ids: jax.Array, prompt_mask: jax.Array) -> tuple:
        """The language positions: (int32[B, P + 2] BOS + prompt + stop, bool[B, P + 2] valid)."""
        ids = jnp.pad(prompt_ids, ((0, 0), (1, 0)), constant_values=self.bos_id)
        ids = jnp.pad(ids, ((0, 0), (0, 1)), constant_values=self.stop_id)
        return ids, jnp.pad(prompt_mask, ((0, 0), (1, 1)), constant_values=True)

    def assemble(
        self,
        embed: Callable[[jax.Array], jax.Array],
        image_tokens: jax.Array,
        state: jax.Array,
        prompt_ids: jax.Array,
        prompt_mask: jax.Array,
    ) -> Sequence:
        """The decoder's input.

        Args:
          embed: token ids int32[...] -> [..., d].
          image_tokens: [B, V, d], all images in order.
          state: f32[B, Q] normalised proprioception.
          prompt_ids: int32[B, P], right padded.
          prompt_mask: bool[B, P].
        """
        batch, visual, width = image_tokens.shape
        dtype = image_tokens.dtype
        proprioception = self.proprio_projector(state.astype(dtype))
        lengths = prompt_mask.sum(1).astype(jnp.int32)
        bos = embed(jnp.full((batch, 1), self.bos_id, jnp.int32)).astype(dtype)
        tail = self._tail(embed, proprioception, prompt_ids, lengths).astype(dtype)
        embeddings = jnp.concatenate([bos, image_tokens, proprioception[:, None], tail], axis=1)
        start = visual + 2 + lengths
        valid = jnp.arange(embeddings.shape[1])[None] < start[:, None] + self.tokens + 1
        return Sequence(embeddings, valid, self.mask(valid, start, self.tokens + 1), start)

    def _tail(self, embed, proprioception, prompt_ids, lengths) -> jax.Array:
        """[prompt][placeholders][stop][pads] of each sample: [B, P + K T + 1, d]."""
        size = prompt_ids.shape[1]
        offset = jnp.arange(size + self.tokens + 1)[None] - lengths[:, None]
        is_action = (offset >= 0) & (offset < self.tokens)
        source = jnp.where(offset < 0, offset, offset - self.tokens - 1) + lengths[:, None]
        ids = jnp.take_along_axis(prompt_ids, jnp.clip(source, 0, size - 1), axis=1)
        ids = jnp.where(offset == self.tokens, self.stop_id, ids)
        words = embed(ids)
        placeholders = self.placeholders(proprioception).astype(words.dtype)
        placeholders = jnp.broadcast_to(placeholders, (words.shape[0], *placeholders.shape[1:]))
        index = jnp.clip(offset, 0, self.tokens - 1)[..., None]
        placeholders = jnp.take_along_axis(placeholders, index, axis=1)
        return jnp.where(is_action[..., None], placeholders, words)

    def read(self, hidden: jax.Array, start: jax.Array) -> jax.Array:
        """Decoder states [B, S, d] -> action token states [B, K, T, d]."""
        rows = self.first_row(start)[:, None] + jnp.arange(self.tokens)[None]
        states = jnp.take_along_axis(hidden, rows[..., None], axis=1)
        return states.reshape(hidden.shape[0], self.chunk, self.tokens_per_step, -1)
