"""A policy as the server runs it: rows prepared one by one, computed in batches of fixed sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from semanticvla_jax.robots import RobotSpec

Row = Mapping[str, np.ndarray]


class ServablePolicy(Protocol):
    """What a server needs of a policy; `semanticvla_jax.policy.Policy` is one."""

    label: str
    robot: RobotSpec
    camera_size: int
    chunk: int
    params: Any

    def prepare(self, observation: Mapping[str, Any]) -> Row:
        """One observation, checked, as model inputs without a batch axis; from any thread."""
        ...

    def forward(self, params: Any, batch: Row) -> Any:
        """Model inputs [B, ...] -> normalised f32[B, K, A]."""
        ...

    def finish(self, actions: np.ndarray) -> np.ndarray:
        """Normalised f32[..., A] -> the controller's units."""
        ...

    def example(self) -> Row:
        """Model inputs to compile with."""
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

    def prepare(self, observation: Mapping[str, Any]) -> Row:
        return self.policy.prepare(observation)

    def warm_up(self) -> None:
        """Compiles every batch size, and whatever preparing an observation compiles."""
        row = self.policy.example()
        for size in self.sizes:
            self.run([row] * size)

    def run(self, rows: Sequence[Row]) -> np.ndarray:
        """B rows, at most the largest size -> f32[B, K, A] in the controller's units."""
        size = next(size for size in self.sizes if size >= len(rows))
        padded = [*rows, *[rows[-1]] * (size - len(rows))]
        batch = {name: np.stack([row[name] for row in padded]) for name in rows[0]}
        actions = self.policy.forward(self.policy.params, batch)
        return self.policy.finish(np.asarray(actions)[: len(rows)])
