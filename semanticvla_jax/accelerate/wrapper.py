"""What every policy around a policy passes on."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


class PolicyWrapper(abc.ABC):
    """A policy that answers in another policy's place, and forgets its episode when told to.

    Attributes:
      policy: the one inside.
      methods: names of what was added here.
      execute: actions of each chunk that the caller executes.
    """

    def __init__(self, policy: Any, methods: Sequence[str], execute: int):
        self.policy, self.methods, self.execute = policy, tuple(methods), execute

    @property
    def label(self) -> str:
        """What results call it."""
        return "+".join([self.policy.label, *self.methods])

    @property
    def robot(self):
        return self.policy.robot

    @property
    def camera_size(self) -> int:
        return self.policy.camera_size

    @property
    def chunk(self) -> int:
        return self.policy.chunk

    @abc.abstractmethod
    def start_episode(self) -> None:
        """Must be called before the first query of each episode."""

    @abc.abstractmethod
    def infer(self, observation: Mapping[str, Any]) -> np.ndarray:
        """One observation, as Policy.infer takes it -> f32[n, A], n at least `execute`."""
