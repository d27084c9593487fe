"""Skills that put an object into something: a basket, a drawer, a microwave."""

from __future__ import annotations

import numpy as np

from semanticvla_jax.libero.expert_cavity import is_roofed, put_in_cavity
from semanticvla_jax.libero.expert_fixtures import open_drawer, opening_direction
from semanticvla_jax.libero.expert_grasp import HOME_YAW
from semanticvla_jax.libero.expert_motion import Arm
from semanticvla_jax.libero.expert_scene import Boxes
from semanticvla_jax.libero.expert_skills import Skill, pick, pick_leaning, place

DRAWER_TRAVEL, DRAWER_OPEN_ENOUGH = 0.130, 0.115  # m: opened that far; wide enough for a bowl
DRAWER_HALF_DEPTH = 0.08  # m from a drawer's middle to its front
HANDLE_DEPTH = 0.03  # m that the handles of drawers above reach into the opening
OVERHANG_RADIUS, OVERHANG_HEIGHT = 0.08, 0.10  # m around and above: there the palm would touch
OVERHANG_LEAN = np.radians(30)  # of the hand that takes something from under an open drawer
EXIT_STEPS, EXIT_LEAD = 15, 0.025  # at most; m per step that the target runs ahead


def put_in(arm: Arm, name: str, region: str) -> Skill:
    """Into a drawer, a cavity with a roof, or a region that is open above."""
    if arm.scene.slide_joint_of_region(region) is not None:
        yield from put_in_drawer(arm, name, region)
    elif is_roofed(arm.scene, region):
        yield from put_in_cavity(arm, name, region)
    else:
        yield from put_in_from_above(arm, name, region)


def put_in_from_above(arm: Arm, name: str, region: str) -> Skill:
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
    middle, position = arm.scene.site_position(region), arm.scene.object_position(name)
    obstacles = arm.scene.obstacles((name,))
    overhung = overhangs(obstacles, middle)
    gap = abs(arm.scene.joint_value(joint)) - HANDLE_DEPTH * overhung
    target = middle + (DRAWER_HALF_DEPTH - gap / 2) * outward
    if overhangs(obstacles, position):
        way = (target - position)[None]
        grasp = yield from pick_leaning(arm, name, outward, OVERHANG_LEAN, way)
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
