"""Skills for loose objects: reach, grasp, lift, carry, lower, release; pick and place.

A skill is a generator of clean actions f64[7]. It returns when its effect is reached and raises
`SkillFailed` when it gives up.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from semanticvla_jax.libero.expert_grasp import APPROACH_HEIGHT, HOME_YAW, Grasp, plan_grasp
from semanticvla_jax.libero.expert_motion import (
    CLOSED,
    OPEN,
    Arm,
    Progress,
    closest_equivalent_yaw,
    pointing_down,
)

CLOSE_STEPS = 10  # gripper needs about 8 to close on an object
OPEN_STEPS = 8
REOPEN_STEPS = 4  # after a missed grasp
LIFT_HEIGHT = 0.05  # m of the lift that tests a grasp
LIFTED_SHARE = 0.5  # of the hand's rise that the object must have followed
PICK_ATTEMPTS = 3
RETREAT_HEIGHT = 0.10  # m above a released object
LOWERING_SPEED = 0.6
LOWERING_RADIUS = 0.02  # m of sideways error beyond which an object is not lowered further
RELEASE_TOLERANCE = 0.004  # m above the release height
HOLD_MARGIN = 0.03  # m between the grip site and a held object's nearest collision box

Skill = Generator[np.ndarray, None, None]


class SkillFailed(Exception):
    """A skill gave up; the message says which and why."""


def reach(arm: Arm, grasp: Grasp) -> Skill:
    """Travel above a grasp and come down onto it with open jaws."""
    rotation = pointing_down(grasp.yaw)
    arm.gripper = OPEN
    yield from arm.transit(
        grasp.position[:2],
        rotation,
        lowest_height=grasp.position[2] + APPROACH_HEIGHT,
        radius=0.05,
        margin=0.02,
    )
    yield from arm.descend(grasp.position, rotation)


def close_jaws(arm: Arm, grasp: Grasp) -> Skill:
    arm.gripper = CLOSED
    yield from arm.hold(CLOSE_STEPS, pointing_down(grasp.yaw), grasp.position)


def lift(arm: Arm, name: str, grasp: Grasp) -> Generator[np.ndarray, None, bool]:
    """Raise the hand; returns whether the object came along."""
    hand_before, object_before = arm.scene.hand_position[2], arm.scene.object_position(name)[2]
    yield from arm.goto(
        grasp.position + [0.0, 0.0, LIFT_HEIGHT],
        pointing_down(grasp.yaw),
        tolerance=0.015,
        max_steps=20,
        speed=0.7,
    )
    hand_rise = arm.scene.hand_position[2] - hand_before
    object_rise = arm.scene.object_position(name)[2] - object_before
    return object_rise > max(0.012, LIFTED_SHARE * hand_rise)


def let_go(arm: Arm, rotation: np.ndarray, steps: int, rise: float) -> Skill:
    """Open the jaws and move the hand up by `rise` m."""
    arm.gripper = OPEN
    yield from arm.hold(steps, rotation)
    above = arm.scene.hand_position + [0.0, 0.0, rise]
    yield from arm.goto(above, rotation, tolerance=0.02, max_steps=20)


def pick(
    arm: Arm, name: str, preferred_yaw: float = HOME_YAW
) -> Generator[np.ndarray, None, Grasp]:
    """Grasp an object and lift it. Returns the grasp that holds it."""
    for attempt in range(PICK_ATTEMPTS):
        planned = plan_grasp(arm.scene, name, arm.rng, attempt, preferred_yaw=preferred_yaw)
        yaw = closest_equivalent_yaw(planned.yaw, arm.scene.hand_rotation)
        grasp = Grasp(planned.position, yaw, planned.width, planned.hits)
        yield from reach(arm, grasp)
        yield from close_jaws(arm, grasp)
        if (yield from lift(arm, name, grasp)):
            return grasp
        yield from let_go(arm, pointing_down(yaw), REOPEN_STEPS, 0.06)
    raise SkillFailed(f"pick {name}: missed {PICK_ATTEMPTS} times")


def carried_offset(arm: Arm, name: str) -> np.ndarray:
    """Hand relative to the object it carries, f64[3]."""
    return arm.scene.hand_position - arm.scene.object_position(name)


def require_held(arm: Arm, name: str) -> None:
    """Raises SkillFailed if the object is no longer between the fingers."""
    boxes = arm.scene.boxes(arm.scene.object_geoms(name))
    if boxes.count_inside(arm.scene.hand_position[None], HOLD_MARGIN) == 0:
        raise SkillFailed(f"carry {name}: dropped")


def carry(arm: Arm, name: str, grasp: Grasp, target_xy: np.ndarray, bottom_height: float) -> Skill:
    """Bring the object's origin above `target_xy`, its lowest point not below `bottom_height` m."""
    rotation, offset = pointing_down(grasp.yaw), carried_offset(arm, name)
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
    grasp: Grasp,
    target_xy: np.ndarray,
    release_height: float,
    max_steps: int = 60,
) -> Skill:
    """Let the object down above `target_xy` until its lowest point is at `release_height` m, or
    it rests on something."""
    rotation, progress = pointing_down(grasp.yaw), Progress()
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
    grasp: Grasp,
    target_xy: np.ndarray,
    release_height: float,
    travel_height: float,
) -> Skill:
    """Carry a held object to `target_xy`, lower it and let go. Heights in m of its lowest point."""
    yield from carry(arm, name, grasp, target_xy, travel_height)
    yield from lower(arm, name, grasp, target_xy, release_height)
    yield from let_go(arm, pointing_down(grasp.yaw), OPEN_STEPS, RETREAT_HEIGHT)
    yield from arm.hold(6, pointing_down(grasp.yaw))
