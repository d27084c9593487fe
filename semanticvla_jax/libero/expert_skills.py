"""Skills for loose objects: reach, grasp, lift, carry, lower, release; pick and place.

A skill is a generator of clean actions f64[7]. It returns when its effect is reached and raises
`SkillFailed` when it gives up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator

import numpy as np

from semanticvla_jax.libero.expert_grasp import HOME_YAW, Grasp, plan_grasp
from semanticvla_jax.libero.expert_leaning import LeaningGrasp, plan_leaning_grasp
from semanticvla_jax.libero.expert_motion import (
    CLOSED,
    OPEN,
    Arm,
    Progress,
    closest_equivalent_yaw,
    leaning,
)

CLOSE_STEPS = 10  # gripper needs about 8 to close on an object
OPEN_STEPS = 8
REOPEN_STEPS, REOPEN_RETREAT = 4, 0.06  # m; after a missed grasp
LIFT_HEIGHT = 0.05  # m of the lift that tests a grasp
LIFTED_SHARE = 0.5  # of the hand's rise that the object must have followed
PICK_ATTEMPTS = 3
RETREAT_HEIGHT = 0.10  # m above a released object
LOWERING_SPEED = 0.6
LOWERING_RADIUS = 0.02  # m of sideways error beyond which an object is not lowered further
RELEASE_TOLERANCE = 0.004  # m above the release height
HOLD_MARGIN = 0.03  # m between the grip site and a held object's nearest collision box

Skill = Generator[np.ndarray, None, None]
AnyGrasp = Grasp | LeaningGrasp


class SkillFailed(Exception):
    """A skill gave up; the message says which and why."""


def reach(arm: Arm, grasp: AnyGrasp) -> Skill:
    """Travel to where the approach begins and come onto the grasp with open jaws."""
    before = grasp.position - grasp.approach * grasp.rotation[:, 2]
    arm.gripper = OPEN
    yield from arm.transit(
        before[:2], grasp.rotation, lowest_height=before[2], radius=0.05, margin=0.02
    )
    yield from arm.approach(grasp.position, grasp.rotation)


def close_jaws(arm: Arm, grasp: AnyGrasp) -> Skill:
    arm.gripper = CLOSED
    yield from arm.hold(CLOSE_STEPS, grasp.rotation, grasp.position)


def lift(arm: Arm, name: str, grasp: AnyGrasp) -> Generator[np.ndarray, None, bool]:
    """Withdraw the hand the way it came; returns whether the object rose with it."""
    hand_before, object_before = arm.scene.hand_position[2], arm.scene.object_position(name)[2]
    yield from arm.goto(
        grasp.position - LIFT_HEIGHT * grasp.rotation[:, 2],
        grasp.rotation,
        tolerance=0.015,
        max_steps=20,
        speed=0.7,
    )
    hand_rise = arm.scene.hand_position[2] - hand_before
    object_rise = arm.scene.object_position(name)[2] - object_before
    return object_rise > max(0.012, LIFTED_SHARE * hand_rise)


def let_go(arm: Arm, rotation: np.ndarray, steps: int, retreat: float) -> Skill:
    """Open the jaws and withdraw the hand by `retreat` m, the way it points (up, if it points
    down)."""
    arm.gripper = OPEN
    yield from arm.hold(steps, rotation)
    away = arm.scene.hand_position - retreat * rotation[:, 2]
    yield from arm.goto(away, rotation, tolerance=0.02, max_steps=20)


def pick(
    arm: Arm, name: str, preferred_yaw: float = HOME_YAW
) -> Generator[np.ndarray, None, Grasp]:
    """Grasp an object from above and lift it. Returns the grasp that holds it."""

    def from_above(attempt: int) -> Grasp:
        planned = plan_grasp(arm.scene, name, arm.rng, attempt, preferred_yaw=preferred_yaw)
        yaw = closest_equivalent_yaw(planned.yaw, arm.scene.hand_rotation)
        return dataclasses.replace(planned, yaw=yaw)

    return (yield from pick_as_planned(arm, name, from_above))


def pick_leaning(
    arm: Arm, name: str, away: np.ndarray, angle: float, displacements: np.ndarray
) -> Generator[np.ndarray, None, LeaningGrasp]:
    """Grasp an object with a hand that leans by `angle` rad towards `away` f64[3], and lift it.

    displacements: f64[K, 3], as in `plan_leaning_grasp`. Returns the grasp that holds it.
    """
    rotation = leaning(away, angle)

    def plan(attempt: int) -> LeaningGrasp:
        return plan_leaning_grasp(arm.scene, name, arm.rng, rotation, displacements, attempt)

    return (yield from pick_as_planned(arm, name, plan))


def pick_as_planned(
    arm: Arm, name: str, plan: Callable[[int], AnyGrasp]
) -> Generator[np.ndarray, None, AnyGrasp]:
    """Grasp and lift an object as `plan` says of each attempt. Returns the grasp that holds it."""
    for attempt in range(PICK_ATTEMPTS):
        grasp = plan(attempt)
        yield from reach(arm, grasp)
        yield from close_jaws(arm, grasp)
        if (yield from lift(arm, name, grasp)):
            return grasp
        yield from let_go(arm, grasp.rotation, REOPEN_STEPS, REOPEN_RETREAT)
    raise SkillFailed(f"pick {name}: missed {PICK_ATTEMPTS} times")


def carried_offset(arm: Arm, name: str) -> np.ndarray:
    """Hand relative to the object it carries, f64[3]."""
    return arm.scene.hand_position - arm.scene.object_position(name)


def require_held(arm: Arm, name: str) -> None:
    """Raises SkillFailed if the object is no longer between the fingers."""
    boxes = arm.scene.boxes(arm.scene.object_geoms(name))
    if boxes.count_inside(arm.scene.hand_position[None], HOLD_MARGIN) == 0:
        raise SkillFailed(f"carry {name}: dropped")


def carry(
    arm: Arm, name: str, grasp: AnyGrasp, target_xy: np.ndarray, bottom_height: float
) -> Skill:
    """Bring the object's origin above `target_xy`, its lowest point not below `bottom_height` m."""
    rotation, offset = grasp.rotation, carried_offset(arm, name)
    below = arm.scene.hand_position[2] - arm.scene.object_points(name)[:, 2].min()
    yield from arm.transit(
        target_xy + offset[:2],
        rotation,
        lowest_height=bottom_height + below,
        clearance_below=below,
        ignoring=(name,),
    )
    require_held(arm, name)
    above = np.append(target_xy + carried_offset(arm, name)[:2], arm.scene.hand_position[2])
    yield from arm.goto(above, rotation, tolerance=0.006, max_steps=20)


def lower(
    arm: Arm,
    name: str,
    grasp: AnyGrasp,
    target_xy: np.ndarray,
    release_height: float,
    max_steps: int = 60,
) -> Skill:
    """Let the object down above `target_xy` until its lowest point is at `release_height` m, or
    it rests on something."""
    rotation, progress = grasp.rotation, Progress()
    for _ in range(max_steps):
        drop = arm.scene.object_points(name, 2)[:, 2].min() - release_height
        if drop < RELEASE_TOLERANCE or progress.stalled(drop):
            return
        require_held(arm, name)
        hand = arm.scene.hand_position
        goal_xy = target_xy + carried_offset(arm, name)[:2]
        on_course = np.linalg.norm(goal_xy - hand[:2]) < LOWERING_RADIUS
        goal = np.append(goal_xy, hand[2] - drop * on_course)
        yield arm.action_towards(goal, rotation, LOWERING_SPEED)


def place(
    arm: Arm,
    name: str,
    grasp: AnyGrasp,
    target_xy: np.ndarray,
    release_height: float,
    travel_height: float,
) -> Skill:
    """Carry a held object to `target_xy`, lower it and let go. Heights in m of its lowest point."""
    yield from carry(arm, name, grasp, target_xy, travel_height)
    yield from lower(arm, name, grasp, target_xy, release_height)
    yield from let_go(arm, grasp.rotation, OPEN_STEPS, RETREAT_HEIGHT)
    yield from arm.hold(6, grasp.rotation)
