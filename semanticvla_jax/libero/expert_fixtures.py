"""Skills for fixtures: opening and closing drawers and doors, turning a knob."""

from __future__ import annotations

import numpy as np

from semanticvla_jax.libero.expert_grasp import HOME_YAW
from semanticvla_jax.libero.expert_motion import (
    CLOSED,
    OPEN,
    UP,
    Arm,
    closest_equivalent_yaw,
    leaning,
    pointing_along,
    pointing_down,
)
from semanticvla_jax.libero.expert_skills import Skill, SkillFailed

HAND_TILT = np.radians(85)  # from pointing down towards pointing at the drawer's front
PULL_DISTANCE = 0.19  # m the hand travels, a drawer opens 0.16
PULL_LEAD = 0.012  # m per step that the target runs ahead
PULL_STEPS = 90
OPENED = 0.152  # m of joint travel that counts as open

PUSH_TILT = np.radians(50)  # of the hand while it pushes a drawer shut
PUSH_STANDOFF = 0.05  # m before the handle or face where a push begins
PUSH_LEAD = 0.03  # m the target is ahead of the handle
PUSH_STEPS = 120
DOOR_LEAD = 0.25  # rad the target is ahead of the door
DOOR_SHARE = 0.65  # of the door's width from hinge to finger tips
DOOR_OVERLAP = 0.02  # m of the grip site below the door's top
FINGER_RADIUS = 0.012  # m from the grip site to the closed fingers' surface
DRAWER_SHUT, DOOR_SHUT = -0.0005, 0.004  # m and rad of travel left that count as shut

KNOB_TURN = 1.2  # rad; a stove is on from 0.5
KNOB_LEAD = 0.06  # rad per step
KNOB_ROTATION_GAIN = 3.0
KNOB_STEPS = 40
KNOB_DEPTH = 0.012  # m below the knob's top for the grip site
KNOB_ON = 0.5
KNOB_ATTEMPTS = 3


def opening_direction(arm: Arm, joint: int) -> np.ndarray:
    """Horizontal unit vector in which a drawer moves when it opens, f64[3]."""
    direction = -shut_sign(arm, joint) * arm.scene.joint_axis(joint)
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


def open_drawer(arm: Arm, region: str, travel: float = OPENED) -> Skill:
    """Clamp the handle bar of the drawer that holds `region` and pull it out by `travel` m."""
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
        if abs(arm.scene.joint_value(joint) - closed_at) > travel and step > 15:
            break
    arm.gripper = OPEN
    yield from arm.hold(6, rotation)
    away = arm.scene.hand_position - 0.08 * forward + 0.08 * UP
    leaving = {"tolerance": 0.03, "rotation_tolerance": np.inf, "max_steps": 30}
    yield from arm.goto(away, rotation, **leaving)
    yield from arm.withdraw(pointing_down(HOME_YAW))


def close(arm: Arm, target: str) -> Skill:
    """Shut the drawer that holds the region `target`, or the door of the object `target`."""
    if arm.scene.is_object(target):
        yield from close_door(arm, target)
    else:
        yield from close_drawer(arm, target)


def close_drawer(arm: Arm, region: str) -> Skill:
    """Push the drawer's handle with closed finger tips, the hand leaning away from the cabinet."""
    joint = arm.scene.slide_joint_of_region(region)
    outward = opening_direction(arm, joint)
    rotation = leaning(outward, PUSH_TILT, arm.scene.hand_rotation[:, 0])
    handle = handle_position(arm, joint, outward)
    arm.gripper = CLOSED
    before = handle + PUSH_STANDOFF * outward
    yield from arm.transit(before[:2], rotation, lowest_height=before[2] + 0.08)
    yield from arm.goto(before, rotation, max_steps=50)
    for _ in range(PUSH_STEPS):
        if still_open(arm, joint) < DRAWER_SHUT:
            break
        way = (handle_position(arm, joint, outward) - before) @ outward - PUSH_LEAD
        yield arm.action_towards(before + way * outward, rotation)
    away = arm.scene.hand_position + 0.05 * outward + 0.08 * UP
    yield from arm.goto(away, rotation, tolerance=0.03, rotation_tolerance=np.inf, max_steps=30)
    if still_open(arm, joint) > DRAWER_SHUT:
        raise SkillFailed(f"close {region}: {still_open(arm, joint):.3f} m still open")


def close_door(arm: Arm, fixture: str) -> Skill:
    """Follow the door's outer face along its arc with closed finger tips, hand pointing down."""
    joint = arm.scene.hinge_joint_of_object(fixture)
    rotation = pointing_down(closest_equivalent_yaw(np.pi / 2, arm.scene.hand_rotation))
    arm.gripper = CLOSED
    before = door_contact(arm, joint, ahead=0.0, standoff=PUSH_STANDOFF)
    yield from arm.transit(before[:2], rotation, lowest_height=before[2] + 0.08)
    yield from arm.goto(before, rotation, max_steps=50)
    for _ in range(PUSH_STEPS):
        if still_open(arm, joint) < DOOR_SHUT:
            break
        goal = door_contact(arm, joint, ahead=DOOR_LEAD, standoff=0.0)
        yield arm.action_towards(goal, rotation)
    away = arm.scene.hand_position + 0.10 * UP
    yield from arm.goto(away, rotation, tolerance=0.03, max_steps=30)
    if still_open(arm, joint) > DOOR_SHUT:
        raise SkillFailed(f"close {fixture}: {still_open(arm, joint):.2f} rad still open")


def door_contact(arm: Arm, joint: int, ahead: float, standoff: float) -> np.ndarray:
    """Where the grip site pushes a door's outer face, f64[3].

    ahead: rad further along the arc. standoff: m of air between finger tips and face.
    """
    boxes = arm.scene.boxes(arm.scene.joint_geoms(joint))
    panel = int(boxes.halves.prod(axis=1).argmax())
    hinge = arm.scene.joint_anchor(joint)
    along = boxes.centers[panel] - hinge
    turn = shut_sign(arm, joint) * arm.scene.joint_axis(joint)
    push = np.cross(turn, along) * [1.0, 1.0, 0.0]
    push /= np.linalg.norm(push)
    width_axis = np.cross(push, UP) * np.sign(np.cross(push, UP) @ along)
    extents = np.abs([push, width_axis, UP] @ boxes.rotations[panel]) @ boxes.halves[panel]
    face = along @ push - extents[0] - FINGER_RADIUS - standoff
    out = DOOR_SHARE * (along @ width_axis + extents[1])
    angle = ahead * np.sign(turn[2])
    c, s = np.cos(angle), np.sin(angle)
    arc = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    contact = hinge + arc @ (face * push + out * width_axis)
    contact[2] = boxes.centers[panel][2] + extents[2] - DOOR_OVERLAP
    return contact


def shut_sign(arm: Arm, joint: int) -> float:
    """+1 if the joint's value grows while it shuts, -1 if it shrinks. Shut is near 0 either way."""
    low, high = arm.scene.joint_range(joint)
    return 1.0 if abs(low) > abs(high) else -1.0


def still_open(arm: Arm, joint: int) -> float:
    """Joint travel left until shut, m or rad; negative beyond the closed position."""
    return -shut_sign(arm, joint) * arm.scene.joint_value(joint)


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
        yield from arm.approach(grip, pointing_down(yaw), tolerance=0.006, max_steps=40, speed=0.7)
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
