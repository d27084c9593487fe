"""An accelerated policy as the server runs it: a connection is an episode, or several in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from semanticvla_jax.accelerate.scheduler import ActionBuffer
from semanticvla_jax.accelerate.sp_vla import Generator
from semanticvla_jax.errors import InputError
from semanticvla_jax.serving.served_policy import Acted, BatchedPolicy


class Episode(NamedTuple):
    """What a connection remembers; nothing else does.

    policy: that served it; another one begins anew.
    instruction: of the episode.
    queries: answered so far.
    last_action: f32[A] executed last, in the controller's units; None at first.
    memory: of the model's accelerators; None at first.
    buffer: of the schedule; None without one.
    """

    policy: AcceleratedPolicy
    instruction: str
    queries: int = 0
    last_action: np.ndarray | None = None
    memory: tuple[Any, ...] | None = None
    buffer: ActionBuffer | None = None


class Question(NamedTuple):
    """The model's inputs of one request, and the episode so far."""

    inputs: Mapping[str, np.ndarray]
    episode: Episode


class AcceleratedPolicy(BatchedPolicy):
    """A policy that computes less, and is not asked at all where a schedule knows the answer.

    An episode begins with the connection, where a request says `reset`, with another instruction,
    and where another policy has been swapped in. Clients execute the first `execute` actions of
    each answer; one that does otherwise says `last_action`.
    """

    def __init__(
        self, accelerated: Any, sizes: Sequence[int], *, methods: str, execute: int | None
    ):
        """Takes the policy; `warm_up` compiles.

        Args:
          accelerated: accelerate.wrap.Accelerated.
          sizes: batch sizes, ascending.
          methods: what clients and metrics are told of.
          execute: None: the whole chunk.

        Raises:
          InputError: `execute` is no part of a chunk, or the robot suits no schedule.
        """
        super().__init__(accelerated.policy, sizes)
        self._methods, self._program = methods, accelerated.program
        self.execute = self.policy.chunk if execute is None else execute
        if not 1 <= self.execute <= self.policy.chunk:
            raise InputError(
                "actions that clients execute",
                found=self.execute,
                expected=f"1 to {self.policy.chunk}, the policy's chunk length",
                fix="change --execute",
            )
        generators = [
            Generator(schedule, self.policy.robot, self.execute)
            for schedule in accelerated.schedules
        ]
        self._generator = generators[0] if generators else None

    @property
    def label(self) -> str:
        return "+".join([super().label, *self._methods.split(",")])

    @property
    def terms(self) -> Mapping[str, Any]:
        return {"accelerate": self._methods, "execute": self.execute}

    def prepare(self, observation: Mapping[str, Any], remembered: Any) -> Question | Acted:
        episode = self._episode(observation, remembered)
        if self._generator is not None:
            actions = self._generator.propose(episode.buffer)
            if actions is not None:
                return self._acted(episode, actions, episode.memory, by_model=False)
        read = self.policy.receive if self._program is None else self.policy.prepare
        return Question(read(observation), episode)

    def _episode(self, observation: Mapping[str, Any], remembered: Any) -> Episode:
        """The one that goes on, or a new one."""
        instruction, episode = observation["instruction"], remembered
        if (
            episode is None
            or observation.get("reset")
            or episode.policy is not self
            or episode.instruction != instruction
        ):
            buffer = self._generator.begin() if self._generator else None
            episode = Episode(self, instruction, buffer=buffer)
        return episode._replace(last_action=observation.get("last_action", episode.last_action))

    def warm_up(self) -> None:
        self._turns = None
        if self._program is not None:
            from semanticvla_jax.accelerate.turns import Turns

            self._turns = Turns(self.policy, self._program, self.sizes)
        else:
            self.policy.compile(self.sizes)
        question = Question(self.policy.example(), self._episode({"instruction": ""}, None))
        for size in self.sizes:
            self.run([question] * size)

    def run(self, rows: Sequence[Question]) -> list[Acted]:
        if self._turns is None:
            actions = self._actions([row.inputs for row in rows])
            return [
                self._acted(row.episode, chunk, None)
                for row, chunk in zip(rows, actions, strict=True)
            ]
        from semanticvla_jax.accelerate.turns import Turn

        turns = [Turn(row.inputs, row.episode.last_action, row.episode.memory) for row in rows]
        return [
            self._acted(
                row.episode,
                self.policy.finish(outcome.actions),
                outcome.memory,
                tokens=int(outcome.kept.sum()),
            )
            for row, outcome in zip(rows, self._turns.take(turns), strict=True)
        ]

    def _acted(
        self,
        episode: Episode,
        actions: np.ndarray,
        memory: tuple[Any, ...] | None,
        *,
        by_model: bool = True,
        tokens: int | None = None,
    ) -> Acted:
        buffer = episode.buffer
        if self._generator is not None:
            buffer = self._generator.after(buffer, actions, by_model)
        after = episode._replace(
            queries=episode.queries + 1,
            last_action=actions[self.execute - 1],
            memory=memory,
            buffer=buffer,
        )
        told = {"query": after.queries, "by_model": by_model, "tokens": tokens}
        return Acted(actions, after, {"accelerated": told})
