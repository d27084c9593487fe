"""Skill for a cavity with a roof, such as a microwave: the object goes in from the side."""

from __future__ import annotations

import numpy as np

from semanticvla_jax.libero.expert_motion import UP, Arm
from semanticvla_jax.libero.expert_scene import Boxes, Scene
from semanticvla_jax.libero.expert_skills import (
    OPEN_STEPS,
    Skill,
    carry,
    let_go,
    lower,
    pick_leaning,
)

LEAN = np.radians(60)  # of the hand that reaches in
RAY_STEP, RAY_LENGTH = 0.005, 0.4  # m
ROOF_HEIGHT = 0.25  # m above a region's middle; what is nearer hinders a hand from above
FRONT_GAP = 0.04  # m between the region and the object before it is moved in
FLOOR_GAP = 0.008  # m between the floor and the object while it is moved in
RETREAT = 0.12  # m the hand withdraws
SPEED = 0.7


def put_in_cavity(arm: Arm, name: str, region: str) -> Skill:
    """Hold the object from outside, carry it before the opening and move it straight in."""
    scene = arm.scene
    walls = scene.site_owner(region)
    outward = opening_side(scene, walls, region)
    target = spot_inside(scene, walls, name, region, outward)
    points = scene.object_points(name)
    entry = (np.ptp(points @ outward) + FRONT_GAP) * outward
    goal = target - scene.object_position(name)
    grasp = yield from pick_leaning(arm, name, outward, LEAN, np.array([goal, goal + entry / 2]))
    yield from carry(arm, name, grasp, (target + entry)[:2], target[2] + FLOOR_GAP)
    held = scene.hand_position - scene.object_position(name)
    inside = np.append((target + held)[:2], scene.hand_position[2])
    yield from arm.goto(inside, grasp.rotation, max_steps=60, speed=SPEED)
    yield from lower(arm, name, grasp, target[:2], target[2])
    yield from let_go(arm, grasp.rotation, OPEN_STEPS, RETREAT)


def is_roofed(scene: Scene, region: str) -> bool:
    """Whether what the region is part of covers it, so that a hand cannot come from above."""
    return free_length(scene.site_owner(region), scene.site_position(region), UP) < ROOF_HEIGHT


def free_length(boxes: Boxes, start: np.ndarray, direction: np.ndarray) -> float:
    """m from `start` f64[3] along the unit `direction` to the first box, RAY_LENGTH at most."""
    for length in np.arange(0.0, RAY_LENGTH, RAY_STEP):
        if boxes.count_inside((start + length * direction)[None], margin=0.0):
            return float(length)
    return RAY_LENGTH


def opening_side(scene: Scene, walls: Boxes, region: str) -> np.ndarray:
    """The horizontal side of the region towards which the way is free, unit f64[3]."""
    middle, rotation = scene.site_position(region), scene.site_rotation(region)
    sides = [sign * rotation[:, axis] for axis in (0, 1) for sign in (-1, 1)]
    return max(sides, key=lambda side: free_length(walls, middle, side))


def spot_inside(
    scene: Scene, walls: Boxes, name: str, region: str, outward: np.ndarray
) -> np.ndarray:
    """Where the object's origin is to be, f64[3]: with the object on the floor, midway between the
    side walls, and just so deep that nothing of it reaches out of the region."""
    middle, across = scene.site_position(region), np.cross(UP, outward)
    left, right = (free_length(walls, middle, sign * across) for sign in (1, -1))
    reach = np.abs(outward @ scene.site_rotation(region)) @ scene.site_size(region)
    points = scene.object_points(name) - scene.object_position(name)
    spot = middle + (left - right) / 2 * across + (reach - (points @ outward).max()) * outward
    spot[2] = middle[2] - free_length(walls, middle, -UP) - points[:, 2].min()
    return spot
