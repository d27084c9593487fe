"""An accelerated model as functions of explicit state, compiled for a few numbers of tokens."""

from __future__ import annotations

import functools
import itertools
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from semanticvla_jax.accelerate import scene
from semanticvla_jax.accelerate.decoder import pruned
from semanticvla_jax.accelerate.view import Choice, Cut, View

State = dict[str, Any]
SENTENCE = ("prompt_ids", "prompt_mask", "text_ids")  # of a batch
KNOWN = 64  # sentences that are remembered


class Program:
    """A model with at most one stage before the decoder and any number of methods inside it.

    A stage has `name`, `tower` (whose attention it wants), `levels` (shares of the tokens to
    compile for; empty where it always hands on the same number), `prepare(batch, last_action,
    robot, grid)` -> what it wants to know besides, `begin(batch)` -> its state and
    `combine(scene, state)` -> (scene.Combined, state). A method inside has `name`, `sizes(visual)`
    and `cuts(size)`; with a memory also `begin`, `needed`, `watched` and `remember`
    (vla_pruner.py is the example). A stage with a `decoder` of its own goes with no such method
    (vla_cache.py).

    State of B episodes is a dict by name, every leaf with leading [B]. Members of a batch do not
    influence each other: the batch runs with as many slots as the neediest member takes, and empty
    slots are attended to by nobody.
    """

    def __init__(self, model: Any, params: Any, stage: Any = None, methods: Sequence[Any] = ()):
        self.model, self.params, self.stage, self.methods = model, params, stage, tuple(methods)
        self._programs: dict[tuple, Any] = {}
        self._visual: int | None = None
        self._look, self._locate = jax.jit(self._see), jax.jit(self._trace_sources)
        self._understand = jax.jit(functools.partial(model.apply, method="understand"))
        self._known: OrderedDict[bytes, Any] = OrderedDict()

    @property
    def names(self) -> tuple[str, ...]:
        """Of everything that accelerates, in the order in which tokens meet it."""
        return tuple(part.name for part in (self.stage, *self.methods) if part)

    def hear(self, inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """A batch of one observation, in which `instruction` stands for what the sentence says.

        Understanding a sentence that was heard lately costs nothing.

        Args:
          inputs: the model's, without a batch axis.
        """
        batch = {name: value[None] for name, value in inputs.items()}
        sentence = {name: batch.pop(name) for name in SENTENCE}
        key = b"".join(value.tobytes() for value in sentence.values())
        if key not in self._known:
            self._known[key] = self._understand({"params": self.params}, sentence)
        self._known.move_to_end(key)
        if len(self._known) > KNOWN:
            self._known.popitem(last=False)
        return {**batch, "instruction": self._known[key]}

    def prepare(self, batch: Mapping[str, np.ndarray], last_action, robot) -> dict[str, Any]:
        """What the stage wants to know besides the model's inputs of one observation."""
        if self.stage is None:
            return {}
        grid = round(getattr(self.model, self.stage.tower).patches ** 0.5)
        return self.stage.prepare(batch, last_action, robot, grid)

    def begin(self, batch: Mapping[str, Any], extras: Mapping[str, Any]) -> State:
        """State of episodes that begin, as many as `batch` has members; values do not matter."""
        size, visual = len(batch["state"]), self.visual_tokens(batch, extras)
        state = {m.name: m.begin(size, visual) for m in self.methods if hasattr(m, "begin")}
        if self.stage is None:
            return state
        if hasattr(self.stage, "decoder"):  # remembers the decoder's own arrays: zeros of a step's
            run = functools.partial(self._run, front=visual, inside=())
            after = jax.eval_shape(run, self.params, batch, extras, {}, None)[1]
            return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), after)
        return state | {self.stage.name: self.stage.begin(size)}

    def visual_tokens(self, batch: Mapping[str, Any], extras: Mapping[str, Any]) -> int:
        """V, image tokens of an observation behind the stage."""
        if self._visual is None:
            stage, size = self.stage, len(batch["state"])
            fresh = {stage.name: stage.begin(size)} if stage else {}
            seen = jax.eval_shape(self._see, self.params, batch, extras, fresh)
            self._visual = seen[1].shape[1]
        return self._visual

    def step(
        self, batch: Mapping[str, Any], extras: Mapping[str, Any], state: State
    ) -> tuple[jax.Array, State, jax.Array]:
        """One query of B episodes, in the program that the neediest of them takes.

        Args:
          batch: the model's inputs, or heard ones.
          extras: from `prepare`.
          state: from `begin` or the last step.

        Returns:
          (normalised actions f32[B, K, A], state, bool[B, V] image tokens that got through).
        """
        seen, slots = self.look(batch, extras, state)
        return self.run(slots.max(0), batch, extras, state, seen)

    def look(
        self, batch: Mapping[str, Any], extras: Mapping[str, Any], state: State
    ) -> tuple[Any, np.ndarray]:
        """How many slots each member of a batch takes.

        Returns:
          (what `run` need not compute again, None where nothing had to be computed; int[B, 1 + m],
          slots in front of the decoder and behind each of the m methods inside).
        """
        visual, size = self.visual_tokens(batch, extras), len(batch["state"])
        seen, front = None, np.full(size, visual)
        if self._varies:
            seen = self._look(self.params, batch, extras, state)
            front = _fitting(self._fronts(visual), np.asarray(seen[1].sum(1)))
        inside = [
            _fitting(m.sizes(visual), np.asarray(m.needed(state[m.name])))
            if hasattr(m, "needed")
            else np.full(size, m.sizes(visual)[-1])
            for m in self.methods
        ]
        return seen, np.stack([front, *inside], axis=1)

    def run(
        self, slots: Sequence[int], batch: Mapping[str, Any], extras, state: State, seen: Any
    ) -> tuple[jax.Array, State, jax.Array]:
        """As `step`, with slots that are enough for every member, and what `look` has seen."""
        front, *inside = map(int, slots)
        return self._program(front, tuple(inside))(self.params, batch, extras, state, seen)

    def choices(self, visual: int) -> list[tuple[int, ...]]:
        """All slots that `look` may name for V image tokens."""
        fronts = self._fronts(visual) if self._varies else (visual,)
        return list(itertools.product(fronts, *(m.sizes(visual) for m in self.methods)))

    def compile(self, batch: Mapping[str, Any], extras: Mapping[str, Any]) -> int:
        """Runs every program once, so that no step compiles; how many there are."""
        state = self.begin(batch, extras)
        seen, _ = self.look(batch, extras, state)
        for slots in self.choices(self.visual_tokens(batch, extras)):
            self.run(slots, batch, extras, state, seen)
        return len(self._programs)

    @property
    def _varies(self) -> bool:
        """Whether the stage hands on now more, now fewer tokens."""
        return self.stage is not None and bool(self.stage.levels)

    def _fronts(self, visual: int) -> tuple[int, ...]:
        return tuple(sorted({int(np.ceil(level * visual)) for level in self.stage.levels}))

    def _program(self, front: int, inside: tuple[int, ...]) -> Any:
        if (front, inside) not in self._programs:
            run = functools.partial(self._run, front=front, inside=inside)
            self._programs[front, inside] = jax.jit(run)
        return self._programs[front, inside]

    def sources(self, batch: Mapping[str, Any], extras, state: State) -> np.ndarray:
        """f32[B, I, V / I, N], how much of each patch is in each image token; nothing in cues.

        Raises:
          InputError: tokens are the model's own mixtures of patches.
        """
        return np.asarray(self._locate(self.params, batch, extras, state))

    def _trace_sources(self, params, batch, extras, state):
        selected, combined, patch, _ = self._combine(params, batch, extras, state)
        patches = self.model.siglip.patches
        if patch is None:
            patch = scene.patches_of_anchors(selected, patches)
        shares = jax.nn.one_hot(patch, patches)
        if combined.weights is not None:
            shares = combined.weights @ shares
        cues = sum(selection.cues.shape[1] for selection in selected.values())
        shares = jnp.pad(shares, ((0, 0), (cues, 0), (0, 0)))
        return shares.reshape(len(batch["state"]), -1, *shares.shape[1:])

    def _see(self, params, batch, extras, state):
        """Towers and stage: (what they hand on, bool[B, V] tokens to go on, state)."""
        selected, combined, _, state = self._combine(params, batch, extras, state)
        if combined.weights is not None:
            selected = {name: _mixed(s, combined.weights) for name, s in selected.items()}
        return selected, _going_on(selected, combined.valid, len(batch["state"])), state

    def _combine(self, params, batch, extras, state):
        """(what towers hand on, what the stage makes of it, where each anchor lies, state)."""
        observe = functools.partial(self.model.apply, {"params": params}, batch, method=_selected)
        if self.stage is None:
            return observe(), scene.Combined(None, None), None, state
        selected, shown = observe(capture_intermediates=scene.captured, mutable=["intermediates"])
        tower = self.stage.tower
        view = scene.look(
            getattr(self.model, tower), shown["intermediates"][tower], selected, extras
        )
        combined, after = self.stage.combine(view, state.get(self.stage.name))
        return selected, combined, view.patch, {**state, self.stage.name: after}

    def _run(self, params, batch, extras, state, seen, *, front: int, inside: tuple[int, ...]):
        if seen is None:
            seen = self._see(params, batch, extras, state)
        selected, given, state = seen
        remembering = [m for m in (self.stage, *self.methods) if hasattr(m, "watched")]
        llm = self._decoder(front, inside)
        model = self.model if llm is None else self.model.clone(llm=llm)
        episode = {m.name: state[m.name] for m in remembering if m.name in state}
        variables = {"params": params, "episode": {"llm": episode | {"given": given}}}
        (actions, _), shown = model.apply(
            variables, selected, batch, method=_decoded, mutable=["episode", "tokens"]
        )
        for method in remembering:
            now = shown["episode"]["llm"][method.name]
            after = getattr(method, "after", lambda _, now: now)
            state = {**state, method.name: after(state.get(method.name), now)}
        kept = shown["tokens"]["llm"]["kept"][0] if "tokens" in shown else given
        return actions, state, kept

    def _decoder(self, front: int, inside: tuple[int, ...]) -> Any:
        """The decoder with all cuts; None where there is nothing to cut."""
        if hasattr(self.stage, "decoder"):
            return self.stage.decoder(self.model.llm, front)
        cuts = [Cut("given", 0, front, _as_given)] if self._varies else []
        for method, size in zip(self.methods, inside, strict=True):
            cuts += method.cuts(size)
        watchers = [m for m in self.methods if hasattr(m, "watched")]
        cuts = sorted(cuts, key=lambda cut: cut.before)
        return pruned(self.model.llm, cuts, watchers) if cuts or watchers else None


def fit(sizes: Sequence[int], need: int) -> int:
    """The smallest of ascending sizes that is enough; the largest if none is."""
    return next((size for size in sizes if size >= need), sizes[-1])


def _fitting(sizes: Sequence[int], needs: np.ndarray) -> np.ndarray:
    return np.array([fit(sizes, need) for need in needs.tolist()])


def _selected(model, batch):
    return model.select(*model.pixels(batch), _understood(model, batch))


def _decoded(model, selected, batch):
    return model.decode(model.tell(selected, _understood(model, batch), batch["state"])[0])


def _understood(model, batch):
    return batch["instruction"] if "instruction" in batch else model.understand(batch)


def _mixed(selection, weights: jax.Array):
    """With anchors [n, h', D] that are sums of the old."""
    anchors = jnp.einsum("nij,njd->nid", weights.astype(selection.anchors.dtype), selection.anchors)
    return selection._replace(anchors=anchors)


def _going_on(selected, valid: jax.Array | None, batch: int) -> jax.Array:
    """bool[B, V] in the decoder's order: each image's cues, which all go on, and its anchors."""
    n, anchors = selected["siglip"].anchors.shape[:2]
    cues = sum(selection.cues.shape[1] for selection in selected.values())
    valid = jnp.ones((n, anchors), bool) if valid is None else valid
    whole = jnp.concatenate([jnp.ones((n, cues), bool), valid], axis=1)
    return whole.reshape(batch, -1)


def _as_given(view: View, given: jax.Array) -> Choice:
    return Choice(jnp.take_along_axis(given, view.rows.token, axis=1))
