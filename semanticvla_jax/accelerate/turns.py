"""Queries of many episodes in one batch, each as if it were asked alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from semanticvla_jax.accelerate.program import Program
from semanticvla_jax.inference.batches import fitting, padded

Memory = tuple[Any, ...]  # arrays with leading [1], on the device


class Turn(NamedTuple):
    """One query of one episode.

    inputs: the model's, without a batch axis.
    last_action: f[A] executed before, in the controller's units; None at first.
    memory: of the answer before; None: the episode begins.
    """

    inputs: Mapping[str, np.ndarray]
    last_action: np.ndarray | None = None
    memory: Memory | None = None


class Outcome(NamedTuple):
    """What a turn comes to.

    actions: f32[K, A], normalised.
    memory: for the episode's next turn; arrays in a tuple, so that NumPy's can stand in.
    kept: bool[V], image tokens that got through.
    slots: that it takes: see Program.look.
    """

    actions: np.ndarray
    memory: Memory
    kept: np.ndarray
    slots: tuple[int, ...]


class Turns:
    """Runs a program on batches of fixed sizes; everything is compiled beforehand.

    Nothing is remembered here: what an episode needs to know next is in its outcome. At one batch
    size an outcome does not depend on the company, bit for bit: members that take other numbers of
    slots run in programs of their own.
    """

    def __init__(self, policy: Any, program: Program, sizes: Sequence[int]):
        """Compiles.

        Args:
          policy: whose program it is, for its robot and its example.
          program: see wrap.assemble.
          sizes: of batches, ascending.
        """
        self._program, self._robot, self.sizes = program, policy.robot, tuple(sizes)
        self._members = jax.jit(_members, static_argnames="batch")
        self._joined, self._parted = jax.jit(_joined), jax.jit(_parted, static_argnames="batch")
        example = Turn(policy.example())
        self._fresh: list[Any] = []
        begun = program.begin(*self._alone(example)[:2])
        self._fresh, self._shape = jax.tree.flatten(begun)
        for size in self.sizes:
            batch, extras, state = self._together([example] * size)
            program.compile(batch, extras)
            seen, _ = program.look(batch, extras, state)
            for part in self.sizes[: self.sizes.index(size) + 1]:
                index = np.zeros(part, np.int32)
                self._members((batch, extras, state, seen), index, batch=size)
            self.take([example] * size)

    def take(self, turns: Sequence[Turn]) -> list[Outcome]:
        """An outcome for each, at most `max(sizes)`."""
        turns, count = padded(turns, self.sizes), len(turns)
        size, whole = len(turns), self._together(turns)
        seen, slots = self._program.look(*whole)
        outcomes: dict[int, Outcome] = {}
        for group in sorted(set(map(tuple, slots[:count].tolist()))):
            members = np.flatnonzero((slots[:count] == group).all(1))
            part = *whole, seen
            if len(members) < count:
                index = np.resize(members, fitting(self.sizes, len(members))).astype(np.int32)
                part = self._members(part, index, batch=size)
            actions, state, kept = self._program.run(group, *part)
            actions, kept = np.asarray(actions), np.asarray(kept)
            memories = self._parted(tuple(jax.tree.leaves(state)), batch=len(actions))
            for row, member in enumerate(members.tolist()):
                outcomes[member] = Outcome(actions[row], memories[row], kept[row], group)
        return [outcomes[member] for member in range(count)]

    def _together(self, turns: Sequence[Turn]) -> tuple[Any, Any, Any]:
        """(batch, extras, state) as Program.step takes them."""
        batch, extras, memory = self._joined([self._alone(turn) for turn in turns])
        return batch, extras, jax.tree.unflatten(self._shape, memory)

    def _alone(self, turn: Turn) -> tuple[Any, Any, Any]:
        batch = self._program.hear(turn.inputs)
        extras = self._program.prepare(batch, turn.last_action, self._robot)
        return batch, extras, turn.memory or tuple(self._fresh)


def _joined(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *trees)


def _parted(memory: Memory, *, batch: int) -> list[Memory]:
    """[batch, ...] of all members -> [1, ...] of each."""
    return [tuple(leaf[i : i + 1] for leaf in memory) for i in range(batch)]


def _members(tree: Any, index: jax.Array, *, batch: int) -> Any:
    """Some members of a batch, of arrays with leading [batch] or [batch x images]."""

    def chosen(x):
        x = x.reshape(batch, -1, *x.shape[1:])[index]
        return x.reshape(-1, *x.shape[2:])

    return jax.tree.map(chosen, tree)
