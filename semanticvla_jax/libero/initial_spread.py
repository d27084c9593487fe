"""How much a task's official initial states differ from each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import mujoco
import numpy as np

from semanticvla_jax.libero.env import LiberoEnv
from semanticvla_jax.libero.jitter import goal_roles
from semanticvla_jax.libero.placement import Official

_PART_TYPES = (mujoco.mjtJoint.mjJNT_SLIDE, mujoco.mjtJoint.mjJNT_HINGE)


@dataclass(frozen=True)
class Spread:
    """Deviations of one thing from its mean over the states.

    rms_cm, max_cm: horizontal distance from the mean position, cm. yaw_deg: largest turn about the
    vertical from the mean heading, degrees.
    """

    rms_cm: float
    max_cm: float
    yaw_deg: float


@dataclass(frozen=True)
class Snapshots:
    """Where things are in N states.

    positions: f64[N, 2] in m and headings: f64[N] in rad (about the vertical, relative to the first
    state), by the name of the object or fixture. drawers f64[N, D] in m and doors f64[N, H] in rad:
    all sliding and turning parts of fixtures. arm: f64[N, 7], joint angles in rad.
    """

    positions: dict[str, np.ndarray]
    headings: dict[str, np.ndarray]
    drawers: np.ndarray
    doors: np.ndarray
    arm: np.ndarray

    def spread(self, name: str) -> Spread:
        distances = deviations(self.positions[name])
        return Spread(
            rms_cm=100 * root_mean_square(distances),
            max_cm=100 * float(distances.max()),
            yaw_deg=float(np.degrees(turns(self.headings[name])).max()),
        )

    def most_central(self, names: Iterable[str]) -> list[int]:
        """State numbers, ordered by the sum of squares of the distances (m) of the named things
        from their mean positions."""
        squares = sum(deviations(self.positions[name]) ** 2 for name in names)
        return [int(index) for index in np.argsort(squares, kind="stable")]


def take_snapshots(env: LiberoEnv, states: int) -> Snapshots:
    """Of the official states 0 to `states` - 1, before they settle."""
    model, data = env.sim.model._model, env.sim.data._data
    bodies = dict(env.env.obj_body_id)
    arm = [data.joint(f"robot0_joint{number}").qpos for number in range(1, 8)]
    parts = [
        [joint for joint in range(model.njnt) if model.jnt_type[joint] == kind]
        for kind in _PART_TYPES
    ]
    slides, hinges = (
        [j for j in joints if not model.joint(j).name.startswith(("robot0", "gripper0"))]
        for joints in parts
    )
    positions, rotations, drawers, doors, arms = [], [], [], [], []
    for index in range(states):
        Official(index).apply(env)
        mujoco.mj_kinematics(model, data)
        positions.append([data.xpos[body][:2].copy() for body in bodies.values()])
        rotations.append([data.xmat[body].reshape(3, 3).copy() for body in bodies.values()])
        drawers.append(data.qpos[model.jnt_qposadr[slides]])
        doors.append(data.qpos[model.jnt_qposadr[hinges]])
        arms.append(np.concatenate(arm))
    moved, turned = np.array(positions), np.array(rotations)
    return Snapshots(
        positions={name: moved[:, k] for k, name in enumerate(bodies)},
        headings={name: headings_of(turned[:, k]) for k, name in enumerate(bodies)},
        drawers=np.array(drawers),
        doors=np.array(doors),
        arm=np.array(arms),
    )


def goal_things(env: LiberoEnv) -> list[str]:
    """Objects and fixtures that the task's goal names, sorted."""
    targets, containers = goal_roles(env)
    return sorted((targets | containers) & set(env.env.obj_body_id))


def headings_of(rotations: np.ndarray) -> np.ndarray:
    """Turn about the vertical from the first of f64[N, 3, 3], whatever axis the thing stands on;
    f64[N] in (-pi, pi]."""
    relative = rotations @ rotations[0].T
    return np.arctan2(relative[:, 1, 0] - relative[:, 0, 1], relative[:, 0, 0] + relative[:, 1, 1])


def deviations(positions: np.ndarray) -> np.ndarray:
    """Distances f64[N] of the rows of f64[N, 2] from their mean."""
    return np.linalg.norm(positions - positions.mean(axis=0), axis=1)


def turns(headings: np.ndarray) -> np.ndarray:
    """Absolute angles f64[N] between headings f64[N] and their circular mean, rad."""
    directions = np.exp(1j * headings)
    return np.abs(np.angle(directions / directions.mean()))


def root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def largest_deviation(values: np.ndarray) -> float:
    """Of any column of f64[N, K] from its mean; 0 if there are no columns."""
    return float(np.max(np.abs(values - values.mean(axis=0)), initial=0.0))
