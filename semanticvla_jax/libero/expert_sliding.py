"""Skills for flat objects that stay on the table: drag by the rim, push with the open jaws."""

from __future__ import annotations

import numpy as np

from semanticvla_jax.libero.expert_grasp import APPROACH_HEIGHT, plan_grasp
from semanticvla_jax.libero.expert_motion import (
    CLOSED,
    OPEN,
    TIP_BELOW_SITE,
    Arm,
    Progress,
    closest_equivalent_yaw,
    pointing_down,
)
from semanticvla_jax.libero.expert_skills import (
    CLOSE_STEPS,
    OPEN_STEPS,
    RETREAT_HEIGHT,
    Skill,
    SkillFailed,
    let_go,
    require_held,
)

PLATE_RIM_DEPTH = 0.010  # m; plates are shallow
DRAG_RISE = 0.002  # m the clamped rim is raised so that it slides
SLIDE_LEAD = 0.020  # m the target runs ahead of the object
SLIDE_STEPS = 150
ARRIVED = 0.007  # m from the target
PUSH_STANDOFF = 0.05  # m behind the object's edge where a push begins
SIDE_GAIN = 0.8  # pull of the hand back onto the push line


def slide(arm: Arm, name: str, target_xy: np.ndarray) -> Skill:
    """Drag the object to `target_xy`; push it the rest of the way if the rim slipped."""
    try:
        yield from drag(arm, name, target_xy)
    except SkillFailed:
        yield from push(arm, name, target_xy)


def drag(arm: Arm, name: str, target_xy: np.ndarray) -> Skill:
    """Clamp the rim and slide the object over the table (lifting would only tilt it)."""
    grasp = plan_grasp(arm.scene, name, arm.rng, rim_depth=PLATE_RIM_DEPTH)
    rotation = pointing_down(closest_equivalent_yaw(grasp.yaw, arm.scene.hand_rotation))
    arm.gripper = OPEN
    above = grasp.position[2] + APPROACH_HEIGHT
    yield from arm.transit(grasp.position[:2], rotation, lowest_height=above, radius=0.03)
    yield from arm.approach(grasp.position, rotation, max_steps=40, speed=0.6)
    arm.gripper = CLOSED
    yield from arm.hold(CLOSE_STEPS, rotation, grasp.position)
    height = arm.scene.hand_position[2] + DRAG_RISE
    for _ in range(SLIDE_STEPS):
        way = target_xy - arm.scene.object_position(name)[:2]
        left = np.linalg.norm(way)
        if left < ARRIVED:
            break
        require_held(arm, name)
        ahead = arm.scene.hand_position[:2] + way / left * min(left + 0.004, SLIDE_LEAD)
        yield arm.action_towards(np.append(ahead, height), rotation)
    yield from let_go(arm, rotation, OPEN_STEPS, RETREAT_HEIGHT)
    require_arrived(arm, name, target_xy, "drag")


def push(arm: Arm, name: str, target_xy: np.ndarray) -> Skill:
    """Push with the open jaws across the push line, so that two contacts keep it straight."""
    points = arm.scene.object_points(name)
    radius, height = np.ptp(points[:, 0]) / 2, points[:, 2].min() + TIP_BELOW_SITE + 0.004
    start = arm.scene.object_position(name)[:2]
    along = (target_xy - start) / np.linalg.norm(target_xy - start)
    across = np.arctan2(along[0], -along[1]) % np.pi
    rotation = pointing_down(closest_equivalent_yaw(across, arm.scene.hand_rotation))
    behind = start - along * (radius + PUSH_STANDOFF)
    arm.gripper = OPEN
    yield from arm.transit(behind, rotation, lowest_height=height + 0.05)
    start = np.append(behind, height)
    if not (yield from arm.goto(start, rotation, tolerance=0.01, max_steps=40)):
        raise SkillFailed(f"push {name}: no room behind it")
    progress = Progress()
    for _ in range(SLIDE_STEPS):
        position, hand = arm.scene.object_position(name)[:2], arm.scene.hand_position[:2]
        way = target_xy - position
        left = np.linalg.norm(way)
        if left < ARRIVED or progress.stalled(np.linalg.norm(target_xy - hand)):
            break
        way = way / left
        sideways = (hand - position) - ((hand - position) @ way) * way
        goal = hand + way * min(SLIDE_LEAD, left + 0.005) - SIDE_GAIN * sideways
        yield arm.action_towards(np.append(goal, height), rotation)
    above = arm.scene.hand_position + [0.0, 0.0, RETREAT_HEIGHT]
    yield from arm.goto(above, rotation, max_steps=20)
    require_arrived(arm, name, target_xy, "push")


def require_arrived(arm: Arm, name: str, target_xy: np.ndarray, skill: str) -> None:
    left = np.linalg.norm(target_xy - arm.scene.object_position(name)[:2])
    if left > 0.03:
        raise SkillFailed(f"{skill} {name}: {left:.2f} m from its target")
