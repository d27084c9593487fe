"""When the model need not be asked: action-type-aware scheduling (SP-VLA, equation 1)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class ActionBuffer(NamedTuple):
    """The last executed actions of an episode.

    actions: f64[n, A] in the controller's units, oldest first; n grows to the buffer's length.
    by_model: bool[n], whether the model chose each, and not the generator.
    """

    actions: np.ndarray
    by_model: np.ndarray

    @classmethod
    def empty(cls, action_size: int) -> ActionBuffer:
        return cls(np.zeros((0, action_size)), np.zeros(0, bool))

    def append(self, actions: np.ndarray, by_model: bool, length: int) -> ActionBuffer:
        """With f[k, A] executed too; of all, the last `length` stay."""
        flags = np.concatenate([self.by_model, np.full(len(actions), by_model)])
        return ActionBuffer(np.concatenate([self.actions, actions])[-length:], flags[-length:])


@dataclasses.dataclass(frozen=True)
class Scheduler:
    """The generator may act if the arm is under way evenly and the model was asked enough.

    That is: each translational component of the last action, as speed per step, lies strictly
    between `slowest` and `fastest`, and more than `share` of the buffer is the model's. Until the
    buffer is full the model is asked (the paper does not say).

    Attributes:
      length: n of the buffer.
      slowest, fastest: the paper's table 8 for LIBERO, in the controller's units; elsewhere it
        takes a quarter and three quarters of the platform's range.
    """

    length: int = 6
    share: float = 0.5
    slowest: float = 0.2
    fastest: float = 0.5

    def may_skip(self, buffer: ActionBuffer, translation: Sequence[int]) -> bool:
        """Whether the model need not be asked.

        Args:
          buffer: what was executed.
          translation: dims of the action that move the hand.
        """
        if len(buffer.actions) < self.length:
            return False
        speed = np.abs(buffer.actions[-1, list(translation)])
        even = ((speed > self.slowest) & (speed < self.fastest)).all()
        return bool(even and buffer.by_model.mean() > self.share)
