"""Single dims of states and actions: ranges, frozen ones, what normalisation makes of them."""

from __future__ import annotations

import numpy as np

from semanticvla_jax.data.checks import finding
from semanticvla_jax.data.checks.finding import Finding
from semanticvla_jax.data.episodes import EpisodeSource
from semanticvla_jax.data.normalization import DatasetStatistics, Statistics
from semanticvla_jax.robots import Dimension, RobotSpec

TOLERANCE = 1e-3  # of a limit
OUTLIER = 20.0  # how many times wider the full range may be than the central 98 %


def ranges(dataset: EpisodeSource, robot: RobotSpec) -> list[Finding]:
    """Against what the robot can have: finds other units, absolute actions, flipped conventions."""
    return [
        _range_of("range of actions", dataset.actions, robot.action, robot),
        _range_of("range of states", dataset.states, robot.state, robot),
    ]


def _range_of(subject: str, values: np.ndarray, dims: tuple[Dimension, ...], robot: RobotSpec):
    outside, most = [], 0.0
    for dim, column in zip(dims, values.T, strict=True):
        slack = TOLERANCE * max(1, abs(dim.low)) if np.isfinite(dim.low) else 0
        share = float(((column < dim.low - slack) | (column > dim.high + slack)).mean())
        most = max(most, share)
        if share:
            outside.append(
                f"{dim.name} from {column.min():.4g} to {column.max():.4g} "
                f"({share:.1%} outside {dim.low:.4g} to {dim.high:.4g} [{dim.unit}])"
            )
    if not outside:
        return finding.ok(
            subject, f"{values.min():.4g} to {values.max():.4g}, every dim as expected"
        )
    tell = finding.error if most > 0.01 else finding.warning
    return tell(
        subject,
        finding.several(outside),
        expected=f"the units of robot {robot.name!r}",
        fix="convert the units when writing the dataset, or describe your robot in "
        "semanticvla_jax/robots.py",
    )


def frozen(dataset: EpisodeSource, robot: RobotSpec) -> list[Finding]:
    """Dims that never change teach nothing; often a sensor that was not connected."""
    statistics = statistics_of(dataset, robot)
    constant = [
        f"{what} {name} = {value:.4g}"
        for what, each, names in _quantities(statistics, robot)
        for name, low, high, value in zip(names, each.min, each.max, each.mean, strict=True)
        if low == high
    ]
    if not constant:
        return [finding.ok("frozen dims", "none")]
    return [
        finding.warning(
            "frozen dims",
            finding.several(constant, 8),
            expected="numbers that vary; a constant one is normalised to 0",
            fix="check how they were recorded; leave it where the robot really never uses them",
        )
    ]


def normalisation(dataset: EpisodeSource, robot: RobotSpec) -> list[Finding]:
    """What maps to [-1, 1]: no dim may collapse, or be squeezed by a few wild values."""
    collapsed, squeezed, clipped = [], [], 0.0
    for what, each, names in _quantities(statistics_of(dataset, robot), robot):
        values = robot.gripper.to_training(dataset.actions) if what == "action" else dataset.states
        bounds = each.bounds(robot.normalisation)
        varied = each.mask & ~bounds.constant
        central = each.q99 - each.q01
        for dim in np.flatnonzero(varied):
            if bounds.high[dim] - bounds.low[dim] <= 0:
                collapsed.append(f"{what} {names[dim]}")
            elif each.max[dim] - each.min[dim] > OUTLIER * central[dim]:
                squeezed.append(
                    f"{what} {names[dim]} from {each.min[dim]:.4g} to {each.max[dim]:.4g}, but "
                    f"98 % from {each.q01[dim]:.4g} to {each.q99[dim]:.4g}"
                )
        outside = (values < bounds.low) | (values > bounds.high)
        if varied.any():
            clipped = max(clipped, float(outside[:, varied].mean()))
    if collapsed:
        return [
            finding.warning(
                "normalisation",
                f"{finding.several(collapsed, 8)}: more than 98 % of the values are the same, the "
                f"few others become -1 or 1 under {robot.normalisation!r}",
                expected="values that spread",
                fix="check the recording of these dims, or give the robot normalisation='bounds'",
            )
        ]
    if squeezed:
        return [
            finding.warning(
                "normalisation",
                finding.several(squeezed),
                expected=f"extremes at most {OUTLIER:g} times as wide as the central 98 %",
                fix="look at these episodes for glitches and remove them",
            )
        ]
    return [
        finding.ok("normalisation", f"{robot.normalisation}, clips {clipped:.1%} of the values")
    ]


def statistics_of(dataset: EpisodeSource, robot: RobotSpec) -> DatasetStatistics:
    return DatasetStatistics.of(robot, dataset.states, dataset.actions, dataset.episode_count)


def _quantities(statistics: DatasetStatistics, robot: RobotSpec):
    yield "action", statistics.action, robot.action_names
    yield "state", statistics.proprio, robot.state_names


def table(statistics: DatasetStatistics, robot: RobotSpec) -> str:
    """Statistics for people, one line per dim."""
    columns = ("min", "q01", "mean", "q99", "max", "std")
    lines = [f"{'':34}" + "".join(f"{column:>10}" for column in columns)]
    for what, each, names in _quantities(statistics, robot):
        lines += _rows(what, each, names, columns)
    return "\n".join(lines)


def _rows(what: str, each: Statistics, names: tuple[str, ...], columns: tuple[str, ...]):
    return [
        f"  {what + ' ' + name:<32}"
        + "".join(f"{getattr(each, column)[dim]:>10.4f}" for column in columns)
        for dim, name in enumerate(names)
    ]
