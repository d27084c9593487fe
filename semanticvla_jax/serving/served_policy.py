"""A policy as the server runs it: rows prepared one by one, computed in batches of fixed sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from semanticvla_jax.inference.batches import padded
from semanticvla_jax.robots import RobotSpec

Row = Any  # what `prepare` makes for `run`; of a plain policy, Mapping[str, np.ndarray]


class Acted(NamedTuple):
    """What a request comes to.

    actions: f32[K, A] in the controller's units.
    remembered: what the connection's next request is prepared with; None: nothing.
    told: what the client is told besides.
    """

    actions: np.ndarray
    remembered: Any = None
    told: Mapping[str, Any] = {}


class ServablePolicy(Protocol):
    """What a server needs of a policy; `semanticvla_jax.policy.Policy` is one."""

    label: str
    robot: RobotSpec
    camera_size: int
    chunk: int

    def receive(self, observation: Mapping[str, Any]) -> Mapping[str, np.ndarray]:
        """One observation, checked, as a row for `compute`; from any thread."""
        ...

    def compile(self, sizes: Sequence[int]) -> None:
        """Compiles for batches of these sizes."""
        ...

    def compute(self, rows: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        """B rows, of one of these sizes -> normalised f32[B, K, A]."""
        ...

    def finish(self, actions: np.ndarray) -> np.ndarray:
        """Normalised f32[..., A] -> the controller's units."""
        ...

    def example(self) -> Mapping[str, np.ndarray]:
        """A row."""
        ...


class BatchedPolicy:
    """A policy that only ever computes batches of the given sizes, each compiled beforehand."""

    def __init__(self, policy: ServablePolicy, sizes: Sequence[int]):
        """Takes the policy; `warm_up` compiles.

        Args:
          policy: to serve.
          sizes: batch sizes, ascending.
        """
        self.policy, self.sizes = policy, tuple(sizes)

    @property
    def label(self) -> str:
        """The policy's label without the directories of this machine."""
        return self.policy.label.rpartition("/")[-1]

    @property
    def terms(self) -> Mapping[str, Any]:
        """What clients are told when they connect, besides what the robot is."""
        return {}

    def prepare(self, observation: Mapping[str, Any], remembered: Any) -> Row | Acted:
        """One observation for `run`, or at once what it comes to; from any thread.

        Args:
          observation: as read_observation returns it.
          remembered: of what the connection's last request came to; None at first.
        """
        return self.policy.receive(observation)

    def warm_up(self) -> None:
        """Compiles every batch size, and whatever preparing an observation compiles."""
        self.policy.compile(self.sizes)
        row = self.policy.example()
        for size in self.sizes:
            self.run([row] * size)

    def run(self, rows: Sequence[Row]) -> list[Acted]:
        """B rows, at most the largest size, in one batch."""
        return [Acted(actions) for actions in self._actions(rows)]

    def _actions(self, rows: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        """Rows of B requests -> f32[B, K, A] in the controller's units."""
        actions = self.policy.compute(padded(rows, self.sizes))
        return self.policy.finish(actions[: len(rows)])
