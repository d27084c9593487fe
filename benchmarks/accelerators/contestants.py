"""A policy with accelerators, ready to be counted and timed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from semanticvla_jax.accelerate.program import Program
from semanticvla_jax.accelerate.replay import Frame
from semanticvla_jax.accelerate.wrap import Accelerated
from semanticvla_jax.costs import products

NONE = "none"


def methods_of(name: str) -> str:
    """A row's name -> what --accelerate takes: 'vla_pruner+sp_vla' -> 'vla_pruner,sp_vla'."""
    return "" if name == NONE else name.replace("+", ",")


@dataclasses.dataclass
class Contestant:
    """One row's model.

    Attributes:
      program: of the model; without any method where none chooses tokens, so that all rows are
        timed by the same code.
    """

    name: str
    policy: Any
    program: Program

    @classmethod
    def of(cls, name: str, accelerated: Accelerated) -> Contestant:
        policy = accelerated.policy
        program = accelerated.program or Program(policy.model, policy.params)
        return cls(name, policy, program)

    def begin(self, frame: Frame) -> tuple[Any, Any, Any]:
        """(batch, extras, state) of an episode that begins with the frame."""
        batch = self.program.hear(frame.inputs)
        extras = self.program.prepare(batch, frame.last_action, self.policy.robot)
        return batch, extras, self.program.begin(batch, extras)

    def visual_tokens(self, frame: Frame) -> int:
        """V, image tokens behind any stage."""
        return self.program.visual_tokens(*self.begin(frame)[:2])

    def flops(self, frame: Frame, slots: Sequence[int]) -> int:
        """Of one query that takes these slots; what is computed once per sentence is not in it."""
        batch, extras, state = self.begin(frame)

        def query(batch, extras, state):
            return self.program.run(slots, batch, extras, state, None)[0]

        return products.total(products.trace(query, batch, extras, state).products)

    def compile(self, frame: Frame) -> int:
        """So that no timed query does; how many programs there are."""
        return self.program.compile(*self.begin(frame)[:2])

    def replay(self, frames: Sequence[Frame]) -> list[float]:
        """Seconds of each query of an episode, from the model's inputs to actions on the host."""
        state, seconds = self.begin(frames[0])[2], []
        for frame in frames:
            began = time.perf_counter()
            batch = self.program.hear(frame.inputs)
            extras = self.program.prepare(batch, frame.last_action, self.policy.robot)
            actions, state, _ = self.program.step(batch, extras, state)
            np.asarray(actions)
            seconds.append(time.perf_counter() - began)
        return seconds


def take_turns(
    contestants: Sequence[Contestant], episodes: Sequence[Sequence[Frame]], rounds: int
) -> dict[str, float]:
    """Seconds per query of each: mean over the queries, each the median of its rounds."""
    for contestant in contestants:
        programs = contestant.compile(episodes[0][0])
        contestant.replay(episodes[0])
        print(f"{contestant.name}: {programs} programs", flush=True)
    seconds: dict[str, list[list[float]]] = {contestant.name: [] for contestant in contestants}
    for turn in range(rounds):
        for contestant in contestants if turn % 2 else contestants[::-1]:
            queries = [second for frames in episodes for second in contestant.replay(frames)]
            seconds[contestant.name].append(queries)
    return {name: float(np.median(found, axis=0).mean()) for name, found in seconds.items()}
