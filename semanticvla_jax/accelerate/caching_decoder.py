"""A decoder that computes fresh rows only and remembers the others from the last step."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from semanticvla_jax.accelerate.decoder import check_plain
from semanticvla_jax.accelerate.selection import scatter
from semanticvla_jax.accelerate.view import Rows
from semanticvla_jax.models import pruners
from semanticvla_jax.models.llama import Llama
from semanticvla_jax.models.memory import Memory, Part, Reading
from semanticvla_jax.models.sequence import Landmarks, causal_mask, take_rows


class RowMemory(NamedTuple):
    """Memory that is written at given rows: [B, S, H, Dh], stacked [depth, ...] for a model."""

    keys: jax.Array
    values: jax.Array

    def write(self, keys: jax.Array, values: jax.Array, rows: jax.Array) -> RowMemory:
        """Puts keys and values [B, R, H, Dh] at rows int32[B, R]; those behind the end are lost."""
        batch = jnp.arange(len(rows))[:, None]
        return RowMemory(
            self.keys.at[batch, rows].set(keys, mode="drop"),
            self.values.at[batch, rows].set(values, mode="drop"),
        )


class Read(NamedTuple):
    """What is kept for the next step: keys and values [B, depth, S, H, Dh]; relevance f32[B, V]."""

    keys: jax.Array
    values: jax.Array
    relevance: jax.Array


def caching(llm: Llama, name: str, size: int, watched: int) -> CachingLlama:
    """The same decoder, with the same parameters, that computes `size` image tokens.

    Raises:
      InputError: as decoder.pruned.
    """
    check_plain(llm, watched)
    fields = {f.name: getattr(llm, f.name) for f in dataclasses.fields(Llama)}
    fields |= {"parent": None, "name": None}
    return CachingLlama(**fields, method=name, size=size, watched=watched)


class CachingLlama(Llama):
    """Llama in which rows that are not fresh keep the keys and values of the last step.

    Reads which image tokens are fresh from `given` bool[B, V] of the collection `episode`, and the
    last step's `keys` and `values` from the entry `method`, if there is one; writes a `Read` there.

    Attributes:
      size: slots for fresh image tokens.
      watched: layer whose attention from rows behind the images is the next step's relevance.
    """

    method: str = ""
    size: int = 0
    watched: int = 0

    def __call__(
        self, x: jax.Array, mask: jax.Array, landmarks: Landmarks | None = None
    ) -> jax.Array:
        """As Llama; states of rows that are not fresh are zero."""
        mask = jnp.broadcast_to(mask, (x.shape[0], *mask.shape[1:]))
        states, rows, _ = self._read(x, mask, landmarks)
        return scatter(states.swapaxes(1, 2), rows.index, rows.valid, x.shape[1]).swapaxes(1, 2)

    def prefill(self, x, landmarks: Landmarks, room: int) -> tuple[jax.Array, Reading]:
        """As Llama."""
        positions = jnp.arange(x.shape[1])[None]
        valid = positions < landmarks.start[:, None]
        mask = causal_mask(valid, landmarks.start, 0)
        states, rows, memory = self._read(x, mask, landmarks)
        visual = landmarks.visual.stop - landmarks.visual.start
        last = landmarks.start - 1 - (visual - rows.token.shape[1])
        part = Part(Memory(*memory), jnp.where(valid, positions, -1)).longer(room)
        return take_rows(states, last, 1), Reading((part,), landmarks.start, jnp.int32(room))

    def _read(self, x, mask, landmarks: Landmarks) -> tuple[jax.Array, Rows, RowMemory]:
        """(final states of fresh rows, which they are, memory of all rows)."""
        batch, size = x.shape[:2]
        visual = landmarks.visual.stop - landmarks.visual.start
        given = self.get_variable("episode", "given")
        rows, columns = Rows.all(batch, size, landmarks.visual).keep(given, self.size)
        seen = jnp.take_along_axis(mask, rows.index[:, None, :, None], axis=2)
        target = jnp.where(rows.valid, rows.index, size)
        memory = self._memory(batch, size)

        def some(x, first, stop):
            part = jax.tree.map(lambda m: m[first:stop], memory)
            if first == stop:
                return x, part
            return self.extend_some(x, seen, rows.index, part, target, first)

        x, early = some(pruners.take_rows(x, columns), 0, self.watched)
        layer = jax.tree.map(lambda m: m[self.watched : self.watched + 1], memory)
        x, layer, weights = self.extend_showing(x, seen, rows.index, layer, target, self.watched)
        x, late = some(x, self.watched + 1, self.depth)
        memory = jax.tree.map(lambda *parts: jnp.concatenate(parts), early, layer, late)
        start = landmarks.start - (visual - rows.token.shape[1])
        self._keep(memory, self._relevance(weights.mean(1), rows, start, landmarks.visual))
        self.sow("tokens", "kept", given)
        return self.finish(x), rows, memory

    def _memory(self, batch: int, size: int) -> RowMemory:
        state = self.get_variable("episode", self.method)
        if state.keys is None:
            return RowMemory(*self.empty_memory(batch, size))
        return RowMemory(state.keys.swapaxes(0, 1), state.values.swapaxes(0, 1))

    def _relevance(self, weights: jax.Array, rows: Rows, start: jax.Array, visual: slice):
        """Attention f32[B, R, S] -> f32[B, V], mean over rows between images and actions."""
        columns = jnp.arange(rows.index.shape[1])
        text = (columns >= rows.visual.stop) & (columns < start[:, None])
        return jnp.mean(weights[..., visual], axis=1, where=text[..., None])

    def _keep(self, memory: RowMemory, relevance: jax.Array) -> None:
        read = Read(memory.keys.swapaxes(0, 1), memory.values.swapaxes(0, 1), relevance)
        if self.is_mutable_collection("episode"):
            self.put_variable("episode", self.method, read)
