"""Skills for fixtures: opening and closing drawers and doors, turning a knob."""

from __future__ import annotations

import numpy as np

from semanticvla_jax.libero.expert_motion import (
    CLOSED,
    OPEN,
    Arm,
    closest_equivalent_yaw,
    pointing_along,
    pointing_down,
)
from semanticvla_jax.libero.expert_skills import Skill, SkillFailed

UP = np.array([0.0, 0.0, 1.0])

HAND_TILT = np.radians(85)  # from pointing down towards pointing at the drawer's front
PULL_DISTANCE = 0.19  # m the hand travels, a drawer opens 0.16
PULL_LEAD = 0.012  # m per step that the target runs ahead
PULL_STEPS = 90
OPENED = 0.152  # m of joint travel that counts as open

KNOB_TURN = 1.2  # rad; a stove is on from 0.5
KNOB_LEAD = 0.06  # rad per step
KNOB_ROTATION_GAIN = 3.0
KNOB_STEPS = 40
KNOB_DEPTH = 0.012  # m below the knob's top for the grip site
KNOB_ON = 0.5
KNOB_ATTEMPTS = 3


def opening_direction(arm: Arm, joint: int) -> np.ndarray:
    """Horizontal unit vector in which a drawer moves when it opens, f64[3]."""
    low, high = arm.scene.joint_range(joint)
    direction = arm.scene.joint_axis(joint) * (-1.0 if abs(low) > abs(high) else 1.0)
    direction[2] = 0.0
    return direction / np.linalg.norm(direction)


def facing_drawer(arm: Arm, outward: np.ndarray) -> np.ndarray:
    """Hand rotation that points at a drawer's front with jaws that close on a horizontal bar."""
    pointing = -np.sin(HAND_TILT) * outward - np.cos(HAND_TILT) * UP
    jaw_axis = np.cos(HAND_TILT) * outward - np.sin(HAND_TILT) * UP
    if jaw_axis @ arm.scene.hand_rotation[:, 0] < 0:
        jaw_axis = -jaw_axis
    return pointing_along(pointing, jaw_axis)


def handle_position(arm: Arm, joint: int, outward: np.ndarray) -> np.ndarray:
    """Center of the drawer's outermost collision box, f64[3]."""
    boxes = arm.scene.boxes(arm.scene.joint_geoms(joint))
    return boxes.centers[int((boxes.centers @ outward).argmax())]


def open_drawer(arm: Arm, region: str) -> Skill:
    """Clamp the handle bar of the drawer that holds `region` and pull."""
    joint = arm.scene.slide_joint_of_region(region)
    closed_at = arm.scene.joint_value(joint)
    outward = opening_direction(arm, joint)
    rotation = facing_drawer(arm, outward)
    forward = rotation[:, 2]
    handle = handle_position(arm, joint, outward)

    arm.gripper = OPEN
    above = handle - 0.11 * forward + 0.05 * UP
    yield from arm.goto(above, rotation, tolerance=0.03, rotation_tolerance=0.3)
    before = handle - 0.06 * forward
    yield from arm.goto(before, rotation, tolerance=0.012, rotation_tolerance=0.12, max_steps=50)
    at_handle = handle + 0.004 * forward
    yield from arm.goto(at_handle, rotation, tolerance=0.005, max_steps=40, speed=0.6)
    arm.gripper = CLOSED
    yield from arm.hold(10, rotation, handle)

    start = arm.scene.hand_position
    for step in range(1, PULL_STEPS + 1):
        pulled = min(PULL_DISTANCE, PULL_LEAD * step)
        yield arm.action_towards(start + pulled * outward, rotation)
        if abs(arm.scene.joint_value(joint) - closed_at) > OPENED and step > 15:
            break
    arm.gripper = OPEN
    yield from arm.hold(6, rotation)
    away = arm.scene.hand_position - 0.08 * forward + 0.08 * UP
    leaving = {"tolerance": 0.03, "rotation_tolerance": np.inf, "max_steps": 30}
    yield from arm.goto(away, rotation, **leaving)


def close(arm: Arm, target: str) -> Skill:
    """Push the drawer that holds the region `target`, or the door of the object `target`, shut."""
    raise SkillFailed(f"close {target}: no skill yet")
    yield


def turn_knob(arm: Arm, fixture: str) -> Skill:
    """Grip a knob where it is narrow and turn the wrist with it."""
    joint = arm.scene.hinge_joint_of_object(fixture)
    for _ in range(KNOB_ATTEMPTS):
        points = arm.scene.geom_points(arm.scene.joint_geoms(joint))
        top = points[:, 2].max()
        bar = points[points[:, 2] > top - KNOB_DEPTH, :2]
        angles = np.linspace(0, np.pi, 36, endpoint=False)
        widths = [np.ptp(bar @ [np.cos(angle), np.sin(angle)]) for angle in angles]
        yaw = closest_equivalent_yaw(angles[int(np.argmin(widths))], arm.scene.hand_rotation)
        grip = np.append(arm.scene.joint_anchor(joint)[:2], top - KNOB_DEPTH)

        arm.gripper = OPEN
        yield from arm.transit(grip[:2], pointing_down(yaw), lowest_height=grip[2] + 0.06)
        yield from arm.descend(grip, pointing_down(yaw), tolerance=0.006, max_steps=40, speed=0.7)
        arm.gripper = CLOSED
        yield from arm.hold(8, pointing_down(yaw), grip)
        for step in range(1, KNOB_STEPS + 1):
            turned = pointing_down(yaw + min(KNOB_TURN, KNOB_LEAD * step))
            yield arm.action_towards(grip, turned, rotation_gain=KNOB_ROTATION_GAIN)
        arm.gripper = OPEN
        yield from arm.hold(4, pointing_down(yaw + KNOB_TURN))
        above = grip + 0.08 * UP
        leaving = {"tolerance": 0.03, "rotation_tolerance": np.inf, "max_steps": 20}
        yield from arm.goto(above, pointing_down(yaw), **leaving)
        if arm.scene.joint_value(joint) > KNOB_ON:
            return
    raise SkillFailed(f"turn {fixture}: the knob did not turn far enough")
