"""Grasps with a hand that leans: under an overhang, or into something that opens sideways.

The hand's rotation is given; what is searched is the place on the object. Candidates are the
middles and the halfway points of its collision boxes (a handle's bar, a piece of a bowl's wall);
the hand is to be free of the object itself and of its surroundings, here and wherever the object is
to be taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from semanticvla_jax.libero.expert_grasp import (
    COST_PER_HIT,
    COST_PER_METRE_WIDTH,
    FINGER_WIDTH,
    RETRY_NOISE,
    RIM_OPENING,
    hand_samples,
)
from semanticvla_jax.libero.expert_motion import TIP_BELOW_SITE
from semanticvla_jax.libero.expert_scene import Boxes, Scene

APPROACH_LENGTH = 0.12  # m along the hand; leaning hands come from farther away
PLACES_ON_BOX = (-0.5, 0.0, 0.5)  # of its half length, along its longest side
PAD_REACH = 0.015  # m from the grip site up the finger that still touches


@dataclass(frozen=True)
class LeaningGrasp:
    """position: grip site f64[3] in m; rotation: of the hand, f64[3, 3]; hits: as in `Grasp`."""

    position: np.ndarray
    rotation: np.ndarray
    hits: int
    approach = APPROACH_LENGTH


def plan_leaning_grasp(
    scene: Scene,
    name: str,
    rng: np.random.Generator,
    rotation: np.ndarray,
    displacements: np.ndarray,
    attempt: int = 0,
) -> LeaningGrasp:
    """The best grasp with hand `rotation` f64[3, 3].

    displacements: f64[K, 3] in m, where the held object is going, relative to where it is; the
    hand is to be free there too. Later attempts add noise to the costs.
    """
    own = scene.boxes(scene.object_geoms(name))
    points = scene.object_points(name)
    surroundings = scene.obstacles((name,))
    here = np.array([np.zeros(3), -APPROACH_LENGTH / 2 * rotation[:, 2]])
    candidates = []
    for position in grip_places(own):
        hand = hand_samples(position, rotation, RIM_OPENING)
        hits = sum(own.count_inside(hand + offset) for offset in here)
        for offset in (*here, *displacements):
            near = surroundings.near(position + offset, 0.25)
            hits += near.count_inside(hand + offset)
        width = width_between_jaws(points, position, rotation)
        cost = COST_PER_HIT * hits + COST_PER_METRE_WIDTH * width
        candidates.append((cost, LeaningGrasp(position, rotation, hits)))
    costs = np.array([cost for cost, _ in candidates])
    costs += attempt * RETRY_NOISE["rim"] * rng.random(len(candidates))
    return candidates[int(costs.argmin())][1]


def grip_places(boxes: Boxes) -> np.ndarray:
    """Middle and halfway points of every box along its longest side, f64[3 N, 3]."""
    longest = boxes.halves.argmax(axis=1)
    along = boxes.rotations[np.arange(len(longest)), :, longest]
    half_sides = along * boxes.halves.max(axis=1)[:, None]
    return np.concatenate([boxes.centers + share * half_sides for share in PLACES_ON_BOX])


def width_between_jaws(points: np.ndarray, position: np.ndarray, rotation: np.ndarray) -> float:
    """m that the points f64[P, 3] between open jaws at `position` span along the jaw axis; all of
    the opening if there is none."""
    local = (points - position) @ rotation
    between = (
        (np.abs(local[:, 0]) < RIM_OPENING / 2)
        & (np.abs(local[:, 1]) < FINGER_WIDTH / 2)
        & (local[:, 2] > -PAD_REACH)
        & (local[:, 2] < TIP_BELOW_SITE)
    )
    return float(np.ptp(local[between, 0])) if between.any() else RIM_OPENING
