"""Accelerators in an evaluation: fewer tokens in the policy, fewer queries of the simulator."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from semanticvla_jax.accelerate.sp_vla import Generator, Schedule
from semanticvla_jax.evaluation.agents import Asked, PolicyAgent
from semanticvla_jax.evaluation.served import Answer, Query, ServedPolicy
from semanticvla_jax.libero.env import LiberoEnv


class AcceleratedPolicy(ServedPolicy):
    """A served policy whose model computes fewer tokens.

    What an episode remembers goes out with each answer and comes back with the next query, so that
    queries remain pure: whoever is killed, on either side, nothing is lost and nothing left behind.
    """

    def __init__(self, policy: Any, program: Any, sizes: Sequence[int]):
        """Compiles; `program` as wrap.assemble makes it of the policy."""
        self._program = program
        super().__init__(policy, sizes)

    def _compile(self) -> None:
        from semanticvla_jax.accelerate.turns import Turns

        self._turns = Turns(self._policy, self._program, self.sizes)

    def _act(self, queries: Sequence[Query]) -> list[Answer]:
        from semanticvla_jax.accelerate.turns import Turn

        turns = [Turn(query.inputs, query.last_action, query.memory) for query in queries]
        return [
            Answer(
                outcome.actions,
                len(queries),
                memory=tuple(map(np.asarray, outcome.memory)),
                kept=outcome.kept,
                slots=outcome.slots,
            )
            for outcome in self._turns.take(turns)
        ]


class ScheduledAgent:
    """Leaves out the queries that SP-VLA's scheduler says may be left out, images included."""

    def __init__(self, agent: PolicyAgent, schedule: Schedule):
        """Around an agent.

        Raises:
          InputError: the robot's actions are no velocities of a hand.
        """
        self._agent = agent
        self._generator = Generator(schedule, agent.interface.robot, agent.execute)
        self.camera_size, self.explain = agent.camera_size, False

    def start_episode(self, env: LiberoEnv, instruction: str) -> None:
        self._agent.explain = self.explain
        self._agent.start_episode(env, instruction)
        self._buffer = self._generator.begin()

    def act(self, env: LiberoEnv, step: int) -> tuple[np.ndarray, Asked]:
        began = time.perf_counter()
        actions = self._generator.propose(self._buffer)
        by_model = actions is None
        if by_model:
            actions, asked = self._agent.act(env, step)
        else:
            asked = Asked(step, time.perf_counter() - began, by_model=False)
        self._buffer = self._generator.after(self._buffer, actions, by_model)
        self._agent.last_action = actions[-1]
        return actions, asked
