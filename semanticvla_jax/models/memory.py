"""What a decoder remembers of the positions it has read."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


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


class Part(NamedTuple):
    """Memory of consecutive layers, and what its slots hold.

    memory: stacked [layers, B, slots, H, Dh].
    positions: int32[B, slots], -1 where a slot holds nothing.
    """

    memory: Memory
    positions: jax.Array

    @property
    def layers(self) -> int:
        return self.memory.keys.shape[0]

    def longer(self, slots: int) -> Part:
        """With `slots` more, empty ones."""
        positions = jnp.pad(self.positions, ((0, 0), (0, slots)), constant_values=-1)
        return Part(self.memory.longer(slots), positions)

    def holding(self, positions: jax.Array, slot: jax.Array | int) -> Part:
        """With int32[B, n] noted from `slot` on; their keys and values are still to be written."""
        noted = jax.lax.dynamic_update_slice_in_dim(self.positions, positions, slot, axis=1)
        return self._replace(positions=noted)

    def mask(self, positions: jax.Array) -> jax.Array:
        """Causal: int32[B, n] -> bool[B, 1, n, slots], slots up to each position."""
        held = self.positions[:, None, :]
        return ((held >= 0) & (held <= positions[:, :, None]))[:, None]


class Reading(NamedTuple):
    """A prefix that was read, with room for words behind it.

    parts: of all layers, from the first on; every part ends in the same number of free slots.
    start: int32[B], position of the first word.
    room: int32[], free slots.
    notes: whatever a special decoder keeps beside.
    """

    parts: tuple[Part, ...]
    start: jax.Array
    room: jax.Array
    notes: Any = None

    def slot(self, part: Part, word: jax.Array | int) -> jax.Array:
        """Where the keys and values of word number `word` belong."""
        return part.positions.shape[1] - self.room + word

    def positions(self, first: jax.Array | int, count: int) -> jax.Array:
        """int32[B, count] of words number `first` and following."""
        return self.start[:, None] + first + jnp.arange(count)[None]
