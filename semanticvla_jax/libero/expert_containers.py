"""Skills that put an object into something: a basket, a drawer, a microwave."""

from __future__ import annotations

import numpy as np

from semanticvla_jax.libero.expert_fixtures import open_drawer, opening_direction
from semanticvla_jax.libero.expert_grasp import HOME_YAW
from semanticvla_jax.libero.expert_leaning import LeaningGrasp, plan_leaning_grasp
from semanticvla_jax.libero.expert_motion import UP, Arm, leaning
from semanticvla_jax.libero.expert_scene import Boxes
from semanticvla_jax.libero.expert_skills import (
    OPEN_STEPS,
    Skill,
    SkillFailed,
    carry,
    let_go,
    lower,
    pick,
    pick_as_planned,
    place,
)

DRAWER_TRAVEL, DRAWER_OPEN_ENOUGH = 0.130, 0.115  # m: opened that far; wide enough for a bowl
DRAWER_HALF_DEPTH = 0.08  # m from a drawer's middle to its front
HANDLE_DEPTH = 0.03  # m that the handles of drawers above reach into the opening
OVERHANG_RADIUS, OVERHANG_HEIGHT = 0.08, 0.10  # m around and above: there the palm would touch
OVERHANG_LEAN = np.radians(30)  # of the hand that takes something from under an open drawer
EXIT_STEPS, EXIT_LEAD = 15, 0.025  # at most; m per step that the target runs ahead

CAVITY_LEAN = np.radians(60)  # of the hand that reaches into a microwave
CAVITY_RAY_STEP, CAVITY_RAY_LENGTH = 0.005, 0.4  # m
ROOF_HEIGHT = 0.25  # m above a region's middle; what is nearer hinders the hand from above
FRONT_GAP = 0.04  # m between the region and the object before it is moved in
FLOOR_GAP = 0.008  # m between the cavity's floor and the object that is moved in
RETREAT = 0.12  # m the hand withdraws from a cavity


def put_in(arm: Arm, name: str, region: str) -> Skill:
    """Into a drawer, a cavity with a roof, or a region that is open above."""
    if arm.scene.slide_joint_of_region(region) is not None:
        yield from put_in_drawer(arm, name, region)
    elif is_roofed(arm, name, region):
        yield from put_in_cavity(arm, name, region)
    else:
        grasp = yield from pick(arm, name)
        center = arm.scene.site_position(region)
        release, travel = (0.0, 0.10) if "basket" in region else (-0.02, 0.05)
        yield from place(arm, name, grasp, center[:2], center[2] + release, center[2] + travel)


def put_in_drawer(arm: Arm, name: str, region: str) -> Skill:
    """Into a drawer, opened first if need be; the hand keeps clear of what stands above it."""
    joint = arm.scene.slide_joint_of_region(region)
    if abs(arm.scene.joint_value(joint)) < DRAWER_OPEN_ENOUGH:
        yield from open_drawer(arm, region, DRAWER_TRAVEL)
    outward = opening_direction(arm, joint)
    middle = arm.scene.site_position(region)
    obstacles = arm.scene.obstacles((name,))
    overhung = overhangs(obstacles, middle)
    gap = abs(arm.scene.joint_value(joint)) - HANDLE_DEPTH * overhung
    target = middle + (DRAWER_HALF_DEPTH - gap / 2) * outward
    if overhangs(obstacles, arm.scene.object_position(name)):
        goal = target - arm.scene.object_position(name)
        grasp = yield from pick_leaning(arm, name, outward, OVERHANG_LEAN, goal[None])
        yield from leave_overhang(arm, name, grasp.rotation, outward)
    else:
        across = np.arctan2(outward[0], -outward[1])
        grasp = yield from pick(arm, name, across if overhung else HOME_YAW)
    yield from place(arm, name, grasp, target[:2], target[2] - 0.02, target[2] + 0.05)


def overhangs(obstacles: Boxes, position: np.ndarray) -> bool:
    """Whether something so high stands over or beside `position` f64[3] that a palm touches it."""
    top = obstacles.highest_top(position[:2], OVERHANG_RADIUS)
    return bool(top - position[2] > OVERHANG_HEIGHT)


def leave_overhang(arm: Arm, name: str, rotation: np.ndarray, outward: np.ndarray) -> Skill:
    """Move a held object level along `outward` f64[3] until it can be raised."""
    obstacles, height = arm.scene.obstacles((name,)), arm.scene.hand_position[2]
    for _ in range(EXIT_STEPS):
        if not overhangs(obstacles, arm.scene.object_position(name)):
            return
        ahead = arm.scene.hand_position + EXIT_LEAD * outward
        ahead[2] = height
        yield arm.action_towards(ahead, rotation)


def pick_leaning(
    arm: Arm, name: str, away: np.ndarray, angle: float, displacements: np.ndarray
):
    """Grasp an object with a hand that leans by `angle` rad towards `away` f64[3], and lift it.

    displacements: f64[K, 3], as in `plan_leaning_grasp`. Returns the grasp that holds it.
    """

    rotation = leaning(away, angle)

    def plan(attempt: int) -> LeaningGrasp:
        grasp = plan_leaning_grasp(arm.scene, name, arm.rng, rotation, displacements, attempt)
        if grasp is None:
            raise SkillFailed(f"pick {name}: nothing fits the leaning jaws")
        return grasp

    return (yield from pick_as_planned(arm, name, plan))


def put_in_cavity(arm: Arm, name: str, region: str) -> Skill:
    """Hold the object from outside, carry it before the opening and move it straight in."""
    scene = arm.scene
    obstacles = scene.obstacles((name,))
    outward = opening_of_cavity(arm, obstacles, region)
    target = spot_in_cavity(arm, obstacles, name, region, outward)
    goal = target - scene.object_position(name)
    entry = entry_distance(scene, name, outward)
    way_in = np.array([goal, goal + entry / 2 * outward])
    grasp = yield from pick_leaning(arm, name, outward, CAVITY_LEAN, way_in)
    front = target + entry * outward
    yield from carry(arm, name, grasp, front[:2], target[2] + FLOOR_GAP)
    held = scene.hand_position - scene.object_position(name)
    inside = np.append((target + held)[:2], scene.hand_position[2])
    yield from arm.goto(inside, grasp.rotation, max_steps=60, speed=0.7)
    yield from lower(arm, name, grasp, target[:2], target[2])
    yield from let_go(arm, grasp.rotation, OPEN_STEPS, RETREAT)


def entry_distance(scene, name, outward):
    along = (scene.object_points(name) - scene.object_position(name)) @ outward
    return float(np.ptp(along)) + FRONT_GAP


def free_length(boxes: Boxes, start: np.ndarray, direction: np.ndarray) -> float:
    """m from `start` f64[3] along `direction` to the first box; at most CAVITY_RAY_LENGTH."""
    steps = np.arange(0.0, CAVITY_RAY_LENGTH, CAVITY_RAY_STEP)
    for length in steps:
        if boxes.count_inside((start + length * direction)[None], 0.0):
            return float(length)
    return CAVITY_RAY_LENGTH


def is_roofed(arm: Arm, name: str, region: str) -> bool:
    """Whether something is above the region, so that the hand cannot come from there."""
    obstacles = arm.scene.obstacles((name,))
    return free_length(obstacles, arm.scene.site_position(region), UP) < ROOF_HEIGHT


def opening_of_cavity(arm: Arm, obstacles: Boxes, region: str) -> np.ndarray:
    """The horizontal side of the region towards which the way is free, unit f64[3]."""
    middle, rotation = arm.scene.site_position(region), arm.scene.site_rotation(region)
    sides = [sign * rotation[:, axis] for axis in (0, 1) for sign in (-1, 1)]
    return max(sides, key=lambda side: free_length(obstacles, middle, side))


def spot_in_cavity(
    arm: Arm, obstacles: Boxes, name: str, region: str, outward: np.ndarray
) -> np.ndarray:
    """Where the object's origin is to stand, f64[3]: on the floor, in the middle between the side
    walls, and just so deep that nothing of it reaches out of the region."""
    scene = arm.scene
    middle, position = scene.site_position(region), scene.object_position(name)
    side = np.cross(UP, outward)
    left, right = (free_length(obstacles, middle, sign * side) for sign in (1, -1))
    reach = np.abs(outward @ scene.site_rotation(region)) @ scene.site_size(region)
    points = scene.object_points(name) - position
    sticks_out = (points @ outward).max()
    floor = middle[2] - free_length(obstacles, middle, -UP)
    spot = middle + (left - right) / 2 * side + (reach - sticks_out) * outward
    spot[2] = floor - points[:, 2].min()
    return spot
