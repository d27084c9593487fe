"""Whether actions mean what the robot says: delta or absolute, axes, and the gripper's sign.

All of it compares actions with what the state did afterwards.
"""

from __future__ import annotations

import numpy as np

from semanticvla_jax.data.checks import finding
from semanticvla_jax.data.checks.finding import Finding
from semanticvla_jax.data.episodes import EpisodeSource
from semanticvla_jax.robots import RobotSpec

HORIZON_SECONDS = 0.25  # controllers and fingers lag behind their commands
RELATED = 0.3  # |correlation| that counts as evidence
COPIES = 0.9  # correlation of absolute targets with the state reached
LEAST_STEPS = 20


def delta_or_absolute(dataset: EpisodeSource, robot: RobotSpec) -> list[Finding]:
    """Correlates each moving dim with the change of its state dim, and with its level."""
    subject, kind = "delta or absolute", "absolute" if robot.absolute else "delta"
    now, later = _pairs(dataset, robot)
    if not robot.moves or len(now) < LEAST_STEPS:
        return [_undecided(subject, "too few steps" if robot.moves else "no state to compare with")]
    related = {
        robot.action[action].name: _relation(dataset, now, later, action, state)
        for action, state in robot.moves.items()
    }
    found = "; ".join(
        f"{name} with change {change:+.2f}, with level {level:+.2f}"
        for name, (change, level) in related.items()
    )
    changes, levels = np.nan_to_num(np.array(list(related.values()))).T
    if not robot.absolute:
        absolute = (levels > COPIES) & (levels > changes)
        reversed_ = changes < -RELATED
        if absolute.mean() > 0.5:
            return [
                finding.error(
                    subject,
                    f"the actions look absolute: correlations {found}",
                    expected=f"{kind} actions: {robot.action_frame}",
                    fix="store the change from one step to the next, in the controller's units",
                )
            ]
        if reversed_.any():
            return [_reversed(subject, related, reversed_, found)]
        if (changes > RELATED).mean() > 0.5:
            return [finding.ok(subject, f"delta; correlations {found}")]
    else:
        if (levels > RELATED).mean() > 0.5 and (levels >= changes).mean() > 0.5:
            return [finding.ok(subject, f"absolute; correlations {found}")]
        if (changes > RELATED).mean() > 0.5:
            return [
                finding.error(
                    subject,
                    f"the actions look like deltas: correlations {found}",
                    expected=f"{kind} actions: {robot.action_frame}",
                    fix="store the targets themselves, in the units of the state",
                )
            ]
    return [_undecided(subject, f"the state hardly follows the actions: correlations {found}")]


def _reversed(subject: str, related: dict, wrong: np.ndarray, found: str) -> Finding:
    names = [name for name, bad in zip(related, wrong, strict=True) if bad]
    return finding.error(
        subject,
        f"{', '.join(names)} moves against the state: correlations {found}",
        expected="the state to move the way the action points",
        fix="check the axis convention (frame, sign, order) of actions and states",
    )


def gripper_sign(dataset: EpisodeSource, robot: RobotSpec) -> list[Finding]:
    """A gripper told to open should be wider open a moment later."""
    now, later = _pairs(dataset, robot)
    return [
        _gripper(dataset, robot, action, fingers, now, later)
        for action, fingers in robot.opening.items()
    ] or [_undecided("gripper sign", f"robot {robot.name!r} has no finger positions")]


def _gripper(dataset, robot: RobotSpec, action: int, fingers, now, later) -> Finding:
    subject = f"sign of {robot.action[action].name}"
    stored = dataset.actions[:, action]
    command = robot.gripper.to_training(dataset.actions)[:, action]
    opening = sum(sign * dataset.states[:, dim] for dim, sign in fingers)
    unit = robot.action[action].unit
    if len(now) < LEAST_STEPS or np.ptp(stored) == 0:
        return _undecided(subject, f"always {stored[0]:.4g}" if len(stored) else "no steps")
    back = robot.gripper.to_environment(robot.gripper.to_training(dataset.actions))[:, action]
    odd = float((np.abs(back - stored) > 1e-3).mean())
    related = _correlation(command[now], opening[later])
    found = (
        f"commands from {stored.min():.4g} to {stored.max():.4g}, correlation of 'open' with the "
        f"opening {HORIZON_SECONDS:g} s later {related:+.2f}"
    )
    if related < -RELATED:
        return finding.error(
            subject,
            found,
            expected=f"{unit}",
            fix="negate the gripper's action when writing the dataset; trained like this, "
            "the gripper does the opposite",
        )
    if odd > 0.01:
        return finding.warning(
            subject,
            f"{found}; {odd:.1%} of the commands are none the robot can return",
            expected=f"{unit}",
            fix="write the commands in the robot's own values",
        )
    if related > RELATED:
        return finding.ok(subject, found)
    return _undecided(subject, f"{found}: the fingers hardly follow")


def _undecided(subject: str, found: str) -> Finding:
    return finding.warning(
        subject,
        f"cannot be told: {found}",
        expected="states that follow the actions",
        fix="make sure that state and action of a step belong together, and look at the histograms",
    )


def _pairs(dataset: EpisodeSource, robot: RobotSpec) -> tuple[np.ndarray, np.ndarray]:
    """i64[n] steps, and the steps HORIZON_SECONDS after them in the same episode."""
    horizon = max(1, round(HORIZON_SECONDS * robot.control_rate))
    starts, stops = dataset.episode_start[:-1], dataset.episode_start[1:]
    now = [
        np.arange(start, stop - horizon)
        for start, stop in zip(starts, stops, strict=True)
        if stop - horizon > start
    ]
    now = np.concatenate(now) if now else np.zeros(0, np.int64)
    return now, now + horizon


def _relation(dataset, now, later, action: int, state: int) -> tuple[float, float]:
    """Correlation of the actions between `now` and `later` with the state's change and level."""
    level = dataset.states[:, state].astype(np.float64)
    total = np.concatenate([[0], np.cumsum(dataset.actions[:, action], dtype=np.float64)])
    commands = total[later] - total[now]
    return (
        _correlation(commands, level[later] - level[now]),
        _correlation(dataset.actions[now, action], level[np.minimum(now + 1, later)]),
    )


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """NaN where one of them never changes."""
    a, b = a - a.mean(dtype=np.float64), b - b.mean(dtype=np.float64)
    scale = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / scale) if scale > 1e-12 else float("nan")
