"""Statistics of states and actions, and the normalisation made of them.

Layout and arithmetic are those of the released `dataset_statistics.json`: per dataset, after the
gripper transform, over all transitions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from semanticvla_jax.errors import InputError, choose
from semanticvla_jax.robots import RobotSpec

_EPSILON = 1e-8
_ARRAYS = ("mean", "std", "max", "min", "q01", "q99")


@dataclass(frozen=True)
class Bounds:
    """The affine map between raw values in [low, high] and [-1, 1].

    Attributes:
      low, high: f64[D].
      mask: bool[D]; other dims pass unchanged.
      constant: bool[D]; dims that never varied in the data.
    """

    low: np.ndarray
    high: np.ndarray
    mask: np.ndarray
    constant: np.ndarray

    def normalize(self, values: np.ndarray) -> np.ndarray:
        """f[..., D] raw -> f64[..., D] clipped to [-1, 1]; constant dims become 0 (training)."""
        return np.where(self.mask & self.constant, 0.0, self.normalize_unguarded(values))

    def normalize_unguarded(self, values: np.ndarray) -> np.ndarray:
        """As `normalize` without the case for constant dims: the released inference code."""
        scaled = 2 * (values - self.low) / (self.high - self.low + _EPSILON) - 1
        return np.where(self.mask, np.clip(scaled, -1, 1), values)

    def unnormalize(self, values: np.ndarray) -> np.ndarray:
        """f[..., D] normalised -> f64[..., D] raw; not clipped."""
        raw = 0.5 * (values + 1) * (self.high - self.low + _EPSILON) + self.low
        return np.where(self.mask, raw, values)


@dataclass(frozen=True)
class Statistics:
    """Per-dimension statistics f64[D] of one quantity; `mask` bool[D]: dims to normalise."""

    mean: np.ndarray
    std: np.ndarray
    max: np.ndarray
    min: np.ndarray
    q01: np.ndarray
    q99: np.ndarray
    mask: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, mask: Iterable[bool] | None = None) -> Statistics:
        """Of f32[N, D]."""
        return cls(
            mean=values.mean(0, dtype=np.float64),
            std=values.std(0, dtype=np.float64),
            max=values.max(0).astype(np.float64),
            min=values.min(0).astype(np.float64),
            q01=np.quantile(values, 0.01, axis=0).astype(np.float64),
            q99=np.quantile(values, 0.99, axis=0).astype(np.float64),
            mask=np.ones(values.shape[1], bool) if mask is None else np.array(mask, bool),
        )

    def bounds(self, normalisation: str) -> Bounds:
        """Quantiles for "bounds_q99", extremes for "bounds" (`RobotSpec.normalisation`).

        Raises:
          InputError: another name.
        """
        ends = {"bounds_q99": (self.q01, self.q99), "bounds": (self.min, self.max)}
        fix = "correct the robot's description in semanticvla_jax/robots.py"
        chosen = choose(ends, normalisation, "normalisation", fix)
        return Bounds(*chosen, mask=self.mask, constant=self.min == self.max)

    def to_json(self) -> dict[str, list]:
        return {name: getattr(self, name).tolist() for name in (*_ARRAYS, "mask")}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], what: str) -> Statistics:
        """`mask` may be missing (all dims).

        Raises:
          InputError: another array is missing, or lengths differ.
        """
        missing = [name for name in _ARRAYS if name not in stored]
        if missing:
            raise InputError(
                what,
                found=f"only {sorted(stored)}",
                expected=f"{', '.join(missing)} too",
                fix="use a dataset_statistics.json as written by training",
            )
        arrays = {name: np.asarray(stored[name], np.float64) for name in _ARRAYS}
        mask = np.asarray(stored.get("mask", np.ones_like(arrays["mean"])), bool)
        if len({array.shape for array in (*arrays.values(), mask)}) != 1:
            raise InputError(
                what,
                found={name: array.shape for name, array in arrays.items()},
                expected="arrays of one length",
                fix="use a dataset_statistics.json as written by training",
            )
        return cls(**arrays, mask=mask)


@dataclass(frozen=True)
class DatasetStatistics:
    """What normalisation needs to know of one dataset."""

    action: Statistics
    proprio: Statistics
    num_transitions: int
    num_trajectories: int

    @classmethod
    def of(cls, robot: RobotSpec, states, actions, episode_count: int) -> DatasetStatistics:
        """Of states f32[N, S] and actions f32[N, A] as stored, before the gripper transform."""
        actions = robot.gripper.to_training(actions)
        return cls(
            action=Statistics.of(actions, robot.action_normalised),
            proprio=Statistics.of(states),
            num_transitions=len(actions),
            num_trajectories=episode_count,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "action": self.action.to_json(),
            "proprio": self.proprio.to_json(),
            "num_transitions": self.num_transitions,
            "num_trajectories": self.num_trajectories,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], name: str) -> DatasetStatistics:
        missing = {"action", "proprio"} - set(stored)
        if missing:
            raise InputError(
                f"statistics of {name}",
                found=f"only {sorted(stored)}",
                expected="action and proprio",
                fix="use a dataset_statistics.json as written by training",
            )
        return cls(
            action=Statistics.from_json(stored["action"], f"action statistics of {name}"),
            proprio=Statistics.from_json(stored["proprio"], f"proprio statistics of {name}"),
            num_transitions=int(stored.get("num_transitions", 0)),
            num_trajectories=int(stored.get("num_trajectories", 0)),
        )


def to_json(statistics: Mapping[str, DatasetStatistics]) -> dict[str, Any]:
    """{dataset name: ...} as plain JSON values, the released layout."""
    return {name: each.to_json() for name, each in statistics.items()}


def from_json(stored: Mapping[str, Any]) -> dict[str, DatasetStatistics]:
    return {name: DatasetStatistics.from_json(each, name) for name, each in stored.items()}


def save(statistics: Mapping[str, DatasetStatistics], path: str | Path) -> None:
    Path(path).write_text(json.dumps(to_json(statistics), indent=2))


def load(path: str | Path) -> dict[str, DatasetStatistics]:
    """Reads a `dataset_statistics.json`.

    Raises:
      InputError: no such file, or not in that layout.
    """
    try:
        return from_json(json.loads(Path(path).read_text()))
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(
            f"statistics {path}",
            found=f"{type(error).__name__}: {error}",
            expected="a dataset_statistics.json",
            fix="name the file that training wrote beside its checkpoint",
        ) from None


def find_statistics(
    statistics: Mapping[str, DatasetStatistics], suite: str
) -> tuple[str, DatasetStatistics]:
    """(key, statistics) for a suite: "libero_object" also finds "libero_object_no_noops".

    Raises:
      InputError: neither is there; choosing another dataset's would ruin the actions silently.
    """
    for key in (suite, f"{suite}_no_noops"):
        if key in statistics:
            return key, statistics[key]
    raise InputError(
        "normalisation statistics",
        found=f"those of {', '.join(sorted(statistics))}",
        expected=f"{suite} or {suite}_no_noops",
        fix="evaluate a suite the policy was trained on, or name the statistics to use",
    )
