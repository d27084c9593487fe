"""What a method sees of the decoder when it chooses image tokens, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from semanticvla_jax.accelerate.selection import compact
from semanticvla_jax.models.pruners import take_rows


class Rows(NamedTuple):
    """Which rows of the decoder's input are still there. R rows, of which n hold image tokens.

    index: int32[B, R], the row each had in the input, which stays its rotary position.
    valid: bool[B, R], False in slots that hold nothing.
    token: int32[B, n], which image token, 0 .. V-1.
    first: column of the first image token.
    """

    index: jax.Array
    valid: jax.Array
    token: jax.Array
    first: int

    @classmethod
    def all(cls, batch: int, size: int, visual: slice) -> Rows:
        """Everything as it comes."""

        def count(n):
            return jnp.broadcast_to(jnp.arange(n, dtype=jnp.int32), (batch, n))

        valid = jnp.ones((batch, size), bool)
        return cls(count(size), valid, count(visual.stop - visual.start), visual.start)

    @property
    def visual(self) -> slice:
        """Columns of the image tokens."""
        return slice(self.first, self.first + self.token.shape[1])

    @property
    def present(self) -> jax.Array:
        """bool[B, n], which slots of image tokens hold one."""
        return self.valid[:, self.visual]

    def keep(self, mask: jax.Array, size: int) -> tuple[Rows, jax.Array]:
        """With the image tokens of mask bool[B, n] only, in `size` slots; and columns int32[B, R'].

        Everything that is no image token stays.
        """
        chosen, valid = compact(mask & self.present, size)
        batch, total = self.index.shape
        before = jnp.broadcast_to(jnp.arange(self.first), (batch, self.first))
        stop = self.visual.stop
        after = jnp.broadcast_to(jnp.arange(stop, total), (batch, total - stop))
        columns = jnp.concatenate([before, self.first + chosen, after], axis=1)
        whole = jnp.take_along_axis(self.valid, columns, axis=1)
        return (
            Rows(
                jnp.take_along_axis(self.index, columns, axis=1),
                whole.at[:, self.first : self.first + size].set(valid),
                jnp.take_along_axis(self.token, chosen, axis=1),
                self.first,
            ),
            columns,
        )

    def mask(self, whole: jax.Array) -> jax.Array:
        """The part of an attention mask bool[B, 1, S, S] for these rows: bool[B, 1, R, R]."""
        part = jnp.take_along_axis(whole, self.index[:, None, :, None], axis=2)
        part = jnp.take_along_axis(part, self.index[:, None, None, :], axis=3)
        return part & self.valid[:, None, None, :]


class View(NamedTuple):
    """The decoder as a method sees it before some layer.

    weights: f32[B, H, R, R], attention of the layer before; None before the first.
    hidden: [B, R, d], what would enter the layer.
    inputs: [B, R, d], the same rows of the decoder's input.
    rows: which rows these are.
    start: int32[B], first row behind the prompt.
    """

    weights: jax.Array | None
    hidden: jax.Array
    inputs: jax.Array
    rows: Rows
    start: jax.Array

    def image(self, x: jax.Array) -> jax.Array:
        """Rows [B, R, d] -> those of the image tokens, [B, n, d]."""
        return x[:, self.rows.visual]

    def attention_from(self, weights: jax.Array) -> jax.Array:
        """Attention of rows weighted by f32[B, R] to image tokens, mean over heads: f32[B, n]."""
        average = self.weights.mean(1)[..., self.rows.visual]
        return jnp.einsum("br,brn->bn", weights, average)

    def prefix(self) -> jax.Array:
        """bool[B, R], rows up to the end of the prompt."""
        columns = jnp.arange(self.rows.index.shape[1])
        return self.rows.valid & (columns < self.start[:, None])


class Choice(NamedTuple):
    """mask: bool[B, n], the image tokens that go on; hidden: [B, n, d], their states if changed."""

    mask: jax.Array
    hidden: jax.Array | None = None


@dataclass(frozen=True)
class Cut:
    """Before decoder layer `before`, the image tokens that `choose` names go on.

    Attributes:
      name: of the method, whose state `choose` is given.
      before: layer, 0-based.
      size: slots for image tokens from there on.
      choose: (View, state) -> Choice, of at most `size` tokens.
    """

    name: str
    before: int
    size: int
    choose: Callable[[View, Any], Choice]

    def apply(self, view: View, state: Any) -> tuple:
        """(rows that go on, their states, their inputs, attention among them or None)."""
        choice, hidden = self.choose(view, state), view.hidden
        if choice.hidden is not None:
            hidden = hidden.at[:, view.rows.visual].set(choice.hidden)
        rows, columns = view.rows.keep(choice.mask, min(self.size, view.rows.token.shape[1]))
        weights = view.weights
        if weights is not None:
            weights = jnp.take_along_axis(weights, columns[:, None, :, None], axis=2)
            weights = jnp.take_along_axis(weights, columns[:, None, None, :], axis=3)
        return rows, take_rows(hidden, columns), take_rows(view.inputs, columns), weights
