"""A decoder that drops image tokens on the way, in one pass or word by word."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from semanticvla_jax.accelerate.selection import scatter
from semanticvla_jax.accelerate.view import Cut, Rows, View
from semanticvla_jax.errors import InputError
from semanticvla_jax.models.llama import Llama
from semanticvla_jax.models.memory import Memory, Part, Reading
from semanticvla_jax.models.sequence import Landmarks, causal_mask, take_rows

# (x, rows, first layer, last layer + 1, show) -> (x, attention of the last layer, or None)
Advance = Callable[[jax.Array, Rows, int, int, bool], tuple[jax.Array, jax.Array | None]]


class Seen(NamedTuple):
    """What a watched layer's action rows attended to, while words are decoded.

    attention: f32[B, words, V], mean over heads; dropped tokens have 0.
    column: int32[n], where in that layer's memory image tokens are.
    token: int32[B, n], which ones; present: bool[B, n], False in slots that hold none.
    """

    attention: jax.Array
    column: jax.Array
    token: jax.Array
    present: jax.Array

    def noting(self, weights: jax.Array, word: jax.Array | int) -> Seen:
        """With attention f32[B, n, slots] of words number `word` and following."""
        tokens = jnp.take(weights, self.column, axis=-1)
        new = scatter(tokens, self.token, self.present, self.attention.shape[-1])
        put = jax.lax.dynamic_update_slice_in_dim
        return self._replace(attention=put(self.attention, new, word + 1, axis=1))


def pruned(llm: Llama, cuts: Sequence[Cut], watchers: Sequence[Any] = ()) -> PrunedLlama:
    """The same decoder, with the same parameters, with cuts.

    Raises:
      InputError: it is a special decoder already, or a layer lies outside it.
    """
    check_plain(llm, max([c.before for c in cuts] + [w.watched for w in watchers]))
    fields = {f.name: getattr(llm, f.name) for f in dataclasses.fields(Llama)}
    fields |= {"parent": None, "name": None}
    return PrunedLlama(**fields, cuts=tuple(cuts), watchers=tuple(watchers))


def check_plain(llm: Llama, layer: int) -> None:
    """Raises InputError unless it is a Llama as it comes, with a layer of that index."""
    if type(llm) is not Llama or layer >= llm.depth:
        raise InputError(
            "decoder to accelerate",
            found=f"{type(llm).__name__} of {llm.depth} layers",
            expected=f"Llama with more than {layer} layers",
            fix="choose earlier layers, or a policy with a plain decoder",
        )


class PrunedLlama(Llama):
    """Llama with cuts, each of which drops image tokens before some layer.

    Dropped tokens are really gone: the layers behind run on fewer rows, and their memory holds
    fewer. Rotary positions stay. State of an episode lives in the collection `episode`, one entry
    per method, each leaf with leading [B]; it is read from there, or begun, and written back where
    the collection is mutable.

    Attributes:
      cuts: in the order of their layers.
      watchers: methods that remember what the actions attended to: `name`, `watched` (layer),
        `begin(batch, visual)` and `remember(state, attention)`.
    """

    cuts: tuple[Cut, ...] = ()
    watchers: tuple[Any, ...] = ()

    def __call__(
        self, x: jax.Array, mask: jax.Array, landmarks: Landmarks | None = None
    ) -> jax.Array:
        """As Llama; states of dropped rows are zero."""
        states, rows = self.compact_states(x, mask, landmarks)
        return scatter(states.swapaxes(1, 2), rows.index, rows.valid, x.shape[1]).swapaxes(1, 2)

    def compact_states(self, x, mask, landmarks: Landmarks) -> tuple[jax.Array, Rows]:
        """Final states [B, R, d] of the rows that are left, and which they are."""
        mask = jnp.broadcast_to(mask, (x.shape[0], *mask.shape[1:]))
        visual = landmarks.visual.stop - landmarks.visual.start
        seen: dict[Any, jax.Array] = {}  # remembered last: this step's cuts know earlier ones only

        def advance(x, rows, first, stop, show):
            part = rows.mask(mask)
            x = self.run(x, part, rows.index, first, stop - show)
            return self.run_showing(x, part, rows.index, stop - 1) if show else (x, None)

        def watch(watcher, weights, rows):
            start = landmarks.start - (visual - rows.token.shape[1])
            acting = take_rows(weights.mean(1), start, landmarks.actions)
            seen[watcher] = scatter(acting[..., rows.visual], rows.token, rows.present, visual)

        x, rows = self._walk(x, landmarks, advance, watch)
        for watcher, attention in seen.items():
            self._remember(watcher, attention)
        return self.finish(x), rows

    def prefill(self, x, landmarks: Landmarks, room: int) -> tuple[jax.Array, Reading]:
        """As Llama; parts of the memory hold different rows."""
        batch, size = x.shape[:2]
        visual = landmarks.visual.stop - landmarks.visual.start
        mask = causal_mask(jnp.arange(size) < landmarks.start[:, None], landmarks.start, 0)
        parts, notes = [], {}

        def advance(x, rows, first, stop, show):
            seen = rows.mask(mask)
            positions = jnp.where(rows.valid & (rows.index < start), rows.index, -1)
            empty = self.empty_memory(batch, positions.shape[1])
            weights, last = None, stop - show
            if last > first:
                memory = jax.tree.map(lambda m: m[: last - first], empty)
                x, memory = self.extend_some(x, seen, rows.index, memory, 0, first)
                parts.append(Part(memory, positions).longer(room))
            if show:
                memory = Memory(*(m[:1] for m in empty))
                x, memory, weights = self.extend_showing(x, seen, rows.index, memory, 0, last)
                parts.append(Part(memory, positions).longer(room))
            return x, weights

        def watch(watcher, weights, rows):
            last = landmarks.start - 1 - (visual - rows.token.shape[1])
            row = take_rows(weights.mean(1), last, 1)[..., rows.visual]
            attention = scatter(row, rows.token, rows.present, visual)
            attention = jnp.pad(attention, ((0, 0), (0, room - 1), (0, 0)))
            column = jnp.arange(rows.visual.start, rows.visual.stop)
            notes[watcher.watched] = Seen(attention, column, rows.token, rows.present)

        start = landmarks.start[:, None]
        x, rows = self._walk(x, landmarks, advance, watch)
        reading = Reading(tuple(parts), landmarks.start, jnp.int32(room), notes)
        last = landmarks.start - 1 - (visual - rows.token.shape[1])
        return take_rows(self.finish(x), last, 1), reading

    def proceed(self, x, word: jax.Array | int, reading: Reading) -> tuple[jax.Array, Reading]:
        """As Llama; watched layers' attention is noted."""
        positions = reading.positions(word, x.shape[1])
        parts, notes, first = [], dict(reading.notes), 0
        for part in reading.parts:
            slot = reading.slot(part, word)
            part = part.holding(positions, slot)
            where = part.mask(positions), positions, part.memory, slot, first
            if first in notes:
                x, memory, weights = self.extend_showing(x, *where)
                notes[first] = notes[first].noting(weights.mean(1), word)
            else:
                x, memory = self.extend_some(x, *where)
            parts.append(part._replace(memory=memory))
            first += part.layers
        return self.finish(x), reading._replace(parts=tuple(parts), notes=notes)

    def conclude(self, reading: Reading) -> None:
        """Watchers remember what was noted of all words."""
        for watcher in self.watchers:
            self._remember(watcher, reading.notes[watcher.watched].attention)

    def _walk(self, x, landmarks: Landmarks, advance: Advance, watch: Callable):
        """Through all layers and cuts: (states before the last norm, rows that are left)."""
        batch, size = x.shape[:2]
        visual = landmarks.visual.stop - landmarks.visual.start
        rows, inputs, layer = Rows.all(batch, size, landmarks.visual), x, 0
        cuts = {cut.before for cut in self.cuts}
        watched = {watcher.watched + 1 for watcher in self.watchers}
        for stop in sorted(cuts | watched | {self.depth}):
            weights = None
            if stop > layer:
                x, weights = advance(x, rows, layer, stop, stop in cuts | watched)
            for watcher in self.watchers:
                if watcher.watched + 1 == stop:
                    watch(watcher, weights, rows)
            for cut in self.cuts:
                if cut.before == stop:
                    start = landmarks.start - (visual - rows.token.shape[1])
                    view = View(weights, x, inputs, rows, start)
                    state = self._episode(cut.name, batch, visual)
                    rows, x, inputs, weights = cut.apply(view, state)
            layer = stop
        self._show(rows, visual)
        return x, rows

    def _episode(self, name: str, batch: int, visual: int) -> Any:
        if self.has_variable("episode", name):
            return self.get_variable("episode", name)
        begin = {watcher.name: watcher.begin for watcher in self.watchers}.get(name)
        return begin(batch, visual) if begin else None

    def _remember(self, watcher: Any, attention: jax.Array) -> None:
        """attention f32[B, words, V], mean over heads."""
        state = self._episode(watcher.name, attention.shape[0], attention.shape[-1])
        if self.is_mutable_collection("episode"):
            self.put_variable("episode", watcher.name, watcher.remember(state, attention.mean(1)))

    def _show(self, rows: Rows, visual: int) -> None:
        """Sows which image tokens got through, bool[B, V], into the collection `tokens`."""
        self.sow("tokens", "kept", scatter(rows.present, rows.token, rows.present, visual))
