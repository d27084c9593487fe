"""A program that computes nothing: it counts the queries of each episode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tests.serving.running import FakePolicy

VISUAL = 12


class CountedPolicy(FakePolicy):
    """As policies with a model are: its inputs can be prepared without compiling it."""

    def prepare(self, observation: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return self.receive(observation)


class CountingProgram:
    """As accelerate.program.Program; prunes half of its tokens but for an episode's first query."""

    def __init__(self, policy: FakePolicy):
        self._policy = policy

    def hear(self, inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return {name: value[None] for name, value in inputs.items()}

    def prepare(self, batch, last_action, robot) -> dict[str, Any]:
        return {}

    def begin(self, batch, extras) -> Any:
        return {"queries": np.zeros(len(batch["state"]), np.int32)}

    def compile(self, batch, extras) -> int:
        return 1

    def look(self, batch, extras, state) -> tuple[None, np.ndarray]:
        return None, np.where(np.asarray(state["queries"]) > 0, VISUAL // 2, VISUAL)[:, None]

    def run(self, slots: Sequence[int], batch, extras, state, seen) -> tuple[Any, Any, Any]:
        rows = [{"state": state} for state in np.asarray(batch["state"])]
        kept = np.tile(np.arange(VISUAL) < slots[0], (len(rows), 1))
        return self._policy.compute(rows), {"queries": state["queries"] + 1}, kept
