"""Plans, how overlapping ones make one action, and what to do without any.

A chunk predicts K actions from the moment of its observation on. Action i belongs to control step
`start + i`, whenever the chunk arrives: that compensates the delay. Steps are counted, not timed:
every action of a plan is executed at most once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True)
class Plan:
    """A chunk: actions f[K, A], the first for control step `start`, the observation's."""

    start: int
    actions: np.ndarray

    def covers(self, step: int) -> bool:
        return self.start <= step < self.start + len(self.actions)

    def at(self, step: int) -> np.ndarray:
        return self.actions[step - self.start]


class Combine(Protocol):
    """Plans that cover a step, oldest first, at least one -> the action f[A] for it."""

    def __call__(self, plans: Sequence[Plan], step: int) -> np.ndarray: ...


class Newest:
    """The newest plan alone."""

    def __call__(self, plans: Sequence[Plan], step: int) -> np.ndarray:
        return plans[-1].at(step)


@dataclass(frozen=True)
class Ensemble:
    """Temporal ensembling (ACT, Zhao et al. 2023): weights exp(-decay i), i = 0 the oldest plan."""

    decay: float = 0.01

    def __call__(self, plans: Sequence[Plan], step: int) -> np.ndarray:
        weights = np.exp(-self.decay * np.arange(len(plans)))
        predictions = np.stack([plan.at(step) for plan in plans])
        return (weights / weights.sum()) @ predictions


class ServerLate(RuntimeError):
    """No plan covers this step, and patience is over: bring the robot to a stop."""


@dataclass(frozen=True)
class Hold:
    """What to do without a plan: hold still, and raise `ServerLate` after `patience` seconds.

    Attributes:
      kept: action dims whose last command is repeated: grippers, and every absolute target. All
        others are deltas and become 0.
      patience: 0 stops at once, infinity holds for ever.
    """

    kept: tuple[int, ...]
    patience: float = math.inf

    @classmethod
    def on(cls, metadata: Mapping[str, Any], patience: float = math.inf) -> Hold:
        """For the robot that a server's metadata describes."""
        dims = range(len(metadata["actions"])) if metadata["absolute"] else metadata["grippers"]
        return cls(tuple(dims), patience)

    def __call__(self, last: np.ndarray, late: float) -> np.ndarray:
        """The action for a step without a plan.

        Args:
          last: f[A], the last action.
          late: seconds since plans ran out.
        """
        if late >= self.patience:
            raise ServerLate(f"no plan for {late:.2f} s")
        action, kept = np.zeros_like(last), list(self.kept)
        action[kept] = last[kept]
        return action
