"""A policy whose model computes fewer tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from semanticvla_jax.accelerate.program import Program
from semanticvla_jax.accelerate.wrapper import PolicyWrapper


class TokenPolicy(PolicyWrapper):
    """Answers with a `Program` instead of the policy's own model.

    Its only state is that of the episode, `state`, a pytree; `start_episode` forgets it.
    """

    def __init__(self, policy: Any, program: Program, execute: int):
        """Compiles everything there is to compile.

        Args:
          policy: semanticvla_jax.policy.Policy.
          program: of its model.
          execute: actions of each chunk that are executed.
        """
        super().__init__(policy, program.names, execute)
        self.program = program
        batch, extras = self._inputs(policy.example(), None)
        program.compile(batch, extras)
        self._fresh = program.begin(batch, extras)
        self.start_episode()

    def start_episode(self) -> None:
        self.state = self._fresh
        self.kept: np.ndarray | None = None
        self._last: np.ndarray | None = None

    def infer(self, observation: Mapping[str, Any]) -> np.ndarray:
        """As Policy.infer; `last_action` f[A] in it, if there, counts as the last executed one."""
        last = observation.get("last_action", self._last)
        batch, extras = self._inputs(self.policy.prepare(observation), last)
        actions, self.state, kept = self.program.step(batch, extras, self.state)
        actions, self.kept = self.policy.finish(np.asarray(actions)[0]), np.asarray(kept)[0]
        self._last = actions[self.execute - 1]
        return actions

    def _inputs(self, inputs: Mapping[str, np.ndarray], last) -> tuple[dict, dict]:
        batch = self.program.hear(inputs)
        return batch, self.program.prepare(batch, last, self.policy.robot)
