"""How far predictions are from demonstrations: per group of dims, step ahead and dim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from semanticvla_jax.data.normalization import DatasetStatistics
from semanticvla_jax.open_loop.predict import Prediction
from semanticvla_jax.robots import RobotSpec


def summarise(
    predictions: Sequence[Prediction], robot: RobotSpec, statistics: DatasetStatistics
) -> dict[str, Any]:
    """Mean absolute errors, as plain JSON values. Predictions past an episode's end do not count.

    Returns:
      groups: action group -> `error` over all steps ahead, `by_step` ahead (K numbers; fewer where
        no episode is as long) and `constant`, the error of always answering the data's mean
        action; all normalised as in training, where actions span [-1, 1].
      dims: action dim -> `error` in its `unit`, over all steps ahead.
      episodes, steps: what was looked at.
    """
    chunk = robot.chunk_length
    inside = np.concatenate([each.inside for each in predictions])[..., None]
    targets = np.concatenate([each.targets for each in predictions])
    answers = np.concatenate([each.answers for each in predictions])
    bounds = statistics.action.bounds(robot.normalisation)
    mean = bounds.normalize(statistics.action.mean)
    in_units = np.concatenate(
        [np.abs(each.predicted - _ahead(each.demonstrated, chunk)) for each in predictions]
    )

    def average(errors: np.ndarray, axis=None) -> np.ndarray:
        count = np.broadcast_to(inside, errors.shape).sum(axis)
        return (errors * inside).sum(axis) / np.maximum(count, 1)

    groups = {}
    for group, dims in robot.action_groups.items():
        of_group = np.abs(answers - targets)[..., dims]
        groups[group] = {
            "error": float(average(of_group)),
            "constant": float(average(np.abs(mean - targets)[..., dims])),
            "by_step": average(of_group, (0, 2))[: inside.any(0).sum()].tolist(),
        }
    by_dim = average(in_units, (0, 1))
    dims = {
        dimension.name: {"error": float(error), "unit": dimension.unit}
        for dimension, error in zip(robot.action, by_dim, strict=True)
    }
    return {
        "groups": groups,
        "dims": dims,
        "episodes": [each.episode for each in predictions],
        "steps": len(targets),
    }


def _ahead(actions: np.ndarray, chunk: int) -> np.ndarray:
    """f32[T, A] -> f32[T, K, A]: the actions of the K steps from each on; the last one repeats."""
    last = len(actions) - 1
    steps = np.arange(len(actions))[:, None] + np.arange(chunk)
    return actions[np.minimum(steps, last)]


def table(summary: dict[str, Any]) -> str:
    """The summary for people."""
    groups, dims = summary["groups"], summary["dims"]
    width = max(map(len, (*groups, *dims, "group")))
    chunk = len(next(iter(groups.values()))["by_step"])
    ahead = sorted({0, chunk // 2, chunk - 1})
    header = "".join(f"{f'step {step + 1}':>10}" for step in ahead)
    lines = [
        "mean absolute error, normalised to [-1, 1]",
        f"{'group':{width}}{'all':>10}{'constant':>10}{header}",
    ]
    for group, errors in groups.items():
        numbers = (errors["error"], errors["constant"], *(errors["by_step"][n] for n in ahead))
        lines.append(f"{group:{width}}" + "".join(f"{number:10.3f}" for number in numbers))
    lines.append("mean absolute error in the robot's units")
    lines += [
        f"{name:{width}}{entry['error']:10.3f}  [{entry['unit']}]" for name, entry in dims.items()
    ]
    return "\n".join(lines)
