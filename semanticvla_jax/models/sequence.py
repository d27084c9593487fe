"""The decoder's input sequence: what comes where, and who attends to whom."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Prefix(NamedTuple):
    """What the decoder is told before the actions.

    image_tokens: [B, V, d], all images in order; state: f32[B, Q] normalised proprioception;
    language: [B, P + 2, d], embeddings of BOS, the right padded prompt and the stop token;
    prompt_mask: bool[B, P].
    """

    image_tokens: jax.Array
    state: jax.Array
    language: jax.Array
    prompt_mask: jax.Array


class Landmarks(NamedTuple):
    """Where things are.

    visual: rows of the image tokens; start: int32[B], first row behind the prompt; actions: number
    of action placeholders from there on.
    """

    visual: slice
    start: jax.Array
    actions: int = 0


class Sequence(NamedTuple):
    """Decoder input: [BOS][images][proprioception][prompt][action block][stop][pads].

    embeddings: [B, S, d]; valid: bool[B, S], False on pads; mask: bool[B, 1, S, S], True = attend;
    start: int32[B], position of the first action token.
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


def language_ids(prompt_ids: jax.Array, prompt_mask: jax.Array, bos_id: int, stop_id: int) -> tuple:
    """The language positions: (int32[B, P + 2] BOS + prompt + stop, bool[B, P + 2] valid)."""
    ids = jnp.pad(prompt_ids, ((0, 0), (1, 0)), constant_values=bos_id)
    ids = jnp.pad(ids, ((0, 0), (0, 1)), constant_values=stop_id)
    return ids, jnp.pad(prompt_mask, ((0, 0), (1, 1)), constant_values=True)


def assemble(
    language: jax.Array, prompt_mask: jax.Array, context: jax.Array, block: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """[BOS][context][prompt][block][stop][pads] of each sample.

    Each sample's block follows its own prompt directly and pads come last, so every sample's result
    equals its unpadded computation.

    Args:
      language: [B, P + 2, d], embeddings of the positions that `language_ids` lists.
      prompt_mask: bool[B, P].
      context: [B, C, d], image tokens and proprioception.
      block: [B or 1, T, d] action tokens.

    Returns:
      (embeddings [B, 1 + C + P + T + 1, d], row of the first action token int32[B]).
    """
    batch, dtype = context.shape[0], context.dtype
    size, tokens = prompt_mask.shape[1], block.shape[1]
    language = language.astype(dtype)
    lengths = prompt_mask.sum(1).astype(jnp.int32)
    offset = jnp.arange(size + tokens + 1)[None] - lengths[:, None]
    source = jnp.where(offset < 0, offset, offset - tokens - 1) + lengths[:, None]
    row = jnp.where(offset == tokens, size + 1, 1 + jnp.clip(source, 0, size - 1))
    tail = jnp.take_along_axis(language, row[..., None], axis=1)
    if tokens:
        block = jnp.broadcast_to(block.astype(dtype), (batch, *block.shape[1:]))
        index = jnp.clip(offset, 0, tokens - 1)[..., None]
        is_action = ((offset >= 0) & (offset < tokens))[..., None]
        tail = jnp.where(is_action, jnp.take_along_axis(block, index, axis=1), tail)
    whole = jnp.concatenate([language[:, :1], context, tail], axis=1)
    return whole, 1 + context.shape[1] + lengths


def take_rows(x: jax.Array, first: jax.Array, count: int) -> jax.Array:
    """[B, S, d] -> [B, count, d], rows from int32[B] `first` on."""
    rows = first[:, None] + jnp.arange(count)[None]
    return jnp.take_along_axis(x, rows[..., None], axis=1)
