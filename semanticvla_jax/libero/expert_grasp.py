"""Grasp planning from collision geometry: where the hand goes and how it is turned.

Two styles, both with the hand pointing down. *Solid*: both fingers around the object, at the
height and angle where it is narrow. *Rim*: one finger inside and one outside the wall of a
bowl, mug or plate, jaw axis radial. Candidates are scored by a cost; the least costly wins.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from semanticvla_jax.libero.expert_motion import TIP_BELOW_SITE, pointing_down
from semanticvla_jax.libero.expert_scene import Scene

RIM_CATEGORIES = ("bowl", "mug", "plate", "ramekin")

MAX_JAW_WIDTH = 0.074  # m, usable (the jaws open to 0.08)
RIM_OPENING, SOLID_OPENING = 0.070, 0.078  # m between the fingers while approaching
FINGER_THICKNESS, FINGER_WIDTH = 0.012, 0.022  # m along and across the jaw axis
PALM_ABOVE_SITE = 0.040  # m from the grip site up to the palm
PALM_HEIGHTS = PALM_ABOVE_SITE + np.array([0.0, 0.015, 0.03, 0.06, 0.09, 0.12])  # of its way down
PALM_HALF_LENGTH, PALM_HALF_WIDTH = 0.10, 0.03  # m along and across the jaw axis
APPROACH_HEIGHT = 0.060  # m above the grasp from which the hand comes down
RIM_DEPTH = 0.022  # m from the rim down to the grip site
RIM_BAND = 0.006  # m below the top that still counts as rim
FLOOR_CLEARANCE = 0.013  # m kept between the grip site and the object's bottom
WRIST_ABOVE_SITE, WRIST_INWARD_OF_SITE = 0.21, 0.088  # m from the grip site, hand pointing down
REACH = 0.65  # m from the shoulder to the wrist; at 0.719 the elbow snaps straight and locks
HOME_YAW = np.pi / 2  # jaw axis at the start of an episode

COST_PER_HIT = 5.0
COST_PER_RADIAN_OF_YAW = {"rim": 2.0, "solid": 1.0}
COST_OF_FAR_SIDE = 0.4  # a rim is best taken at the side of +y
COST_PER_METRE_WIDTH, COST_PER_METRE_OFF_MIDDLE = 20.0, 15.0
COST_PER_METRE_OUT_OF_REACH = 150.0
COST_OF_PALM_ON_OBJECT = 10 * COST_PER_HIT
RETRY_NOISE = {"rim": 1.8, "solid": 1.5}  # cost noise per earlier attempt, to try something else

CountHits = Callable[[np.ndarray], int]


@dataclass(frozen=True)
class Grasp:
    """A grasp with the hand pointing down.

    position: grip site f64[3] in m; yaw: jaw axis in rad; width: m the jaws span; hits: sample
    points of the approaching hand that lie inside obstacles (0 = free).
    """

    position: np.ndarray
    yaw: float
    width: float
    hits: int
    approach = APPROACH_HEIGHT

    @property
    def rotation(self) -> np.ndarray:
        """Of the hand, f64[3, 3]; its third column is the direction of the approach."""
        return pointing_down(self.yaw)


def is_rim_object(name: str) -> bool:
    return any(category in name for category in RIM_CATEGORIES)


@functools.cache
def hand_shape(opening: float) -> np.ndarray:
    """Sample points of both fingers, the palm and its way, f64[P, 3] in m from the grip site.

    x along the jaw axis, y across it, z as the hand points; `opening`: m between the fingers.
    """
    fingers = [
        (side * (opening / 2 + 0.002 + depth * FINGER_THICKNESS), across * FINGER_WIDTH, -height)
        for side in (-1, 1)
        for depth in (0.0, 0.5, 1.0)
        for across in (-0.5, 0.0, 0.5)
        for height in (-TIP_BELOW_SITE, 0.0, 0.02, 0.04, 0.06)
    ]
    palm = [
        (along, across, -height)
        for along in np.linspace(-PALM_HALF_LENGTH, PALM_HALF_LENGTH, 15)
        for across in np.linspace(-PALM_HALF_WIDTH, PALM_HALF_WIDTH, 5)
        for height in PALM_HEIGHTS
    ]
    return np.array(fingers + palm)


def hand_samples(position: np.ndarray, rotation: np.ndarray, opening: float) -> np.ndarray:
    """`hand_shape` of a hand with its grip site at `position` f64[3], in the world."""
    return position + hand_shape(opening) @ rotation.T


def yaw_between(yaw: float, other: float) -> float:
    """Angle in rad between two jaw axes, jaws being half-turn symmetric."""
    return abs((yaw - other + np.pi / 2) % np.pi - np.pi / 2)


def rim_candidates(
    points: np.ndarray,
    count_hits: CountHits,
    preferred_yaw: float = HOME_YAW,
    depth: float = RIM_DEPTH,
) -> list[tuple[float, Grasp]]:
    """(cost, grasp) at 36 places around the rim of the object with surface `points` f64[P, 3]."""
    top = points[:, 2].max()
    center = (points[:, :2].max(axis=0) + points[:, :2].min(axis=0)) / 2
    rim_points = points[points[:, 2] > top - RIM_BAND, :2]
    radius = np.median(np.linalg.norm(rim_points - center, axis=1))
    candidates = []
    for angle in np.linspace(0, 2 * np.pi, 36, endpoint=False):
        outward = np.array([np.cos(angle), np.sin(angle)])
        position = np.append(center + radius * outward, top - depth)
        above = position + [0.0, 0.0, APPROACH_HEIGHT / 2]
        rotation = pointing_down(angle)
        hits = sum(count_hits(hand_samples(at, rotation, RIM_OPENING)) for at in (position, above))
        cost = (
            COST_PER_HIT * hits
            + COST_PER_RADIAN_OF_YAW["rim"] * yaw_between(angle, preferred_yaw)
            + COST_OF_FAR_SIDE * (1 - np.sin(angle))
        )
        candidates.append((cost, Grasp(position, angle % np.pi, 2 * radius, hits)))
    return candidates


def solid_heights(bottom: float, top: float) -> np.ndarray:
    """Grip-site heights to try: near the top, and near the floor for flat objects."""
    wanted = np.append(np.linspace(top - PALM_ABOVE_SITE + 0.004, top - 0.010, 6), bottom + 0.016)
    lowest = bottom + FLOOR_CLEARANCE
    return np.unique(np.clip(wanted, lowest, max(lowest, top - 0.008)).round(3))


def solid_candidates(
    points: np.ndarray, count_hits: CountHits, preferred_yaw: float = HOME_YAW
) -> list[tuple[float, Grasp]]:
    """(cost, grasp) around the object at several heights and 24 angles where it fits the jaws."""
    bottom, top = points[:, 2].min(), points[:, 2].max()
    candidates = []
    for height in solid_heights(bottom, top):
        near_jaws = (points[:, 2] > height - 0.015) & (points[:, 2] < height + 0.012)
        slab = points[near_jaws, :2] if near_jaws.sum() >= 8 else points[:, :2]
        for yaw in np.linspace(0, np.pi, 24, endpoint=False):
            jaw = np.array([np.cos(yaw), np.sin(yaw)])
            across = np.array([-jaw[1], jaw[0]])
            width = np.ptp(slab @ jaw)
            if width > MAX_JAW_WIDTH:
                continue
            middle = [((slab @ axis).max() + (slab @ axis).min()) / 2 for axis in (jaw, across)]
            position = np.append(middle[0] * jaw + middle[1] * across, height)
            hand = hand_samples(position, pointing_down(yaw), SOLID_OPENING)
            hits = count_hits(hand) + int((hand[:, 2] < bottom - 0.002).sum())
            cost = (
                COST_PER_HIT * hits
                + COST_PER_RADIAN_OF_YAW["solid"] * yaw_between(yaw, preferred_yaw)
                + COST_PER_METRE_WIDTH * width
                + COST_PER_METRE_OFF_MIDDLE * abs(height - (bottom + top) / 2)
                + COST_OF_PALM_ON_OBJECT * (top > height + PALM_ABOVE_SITE)
            )
            candidates.append((cost, Grasp(position, yaw, width, hits)))
    return candidates


def top_grasp(points: np.ndarray) -> Grasp:
    """Last resort where nothing fits: the middle of the object from above."""
    bottom, top = points[:, 2].min(), points[:, 2].max()
    center = (points[:, :2].max(axis=0) + points[:, :2].min(axis=0)) / 2
    position = np.append(center, max(bottom + TIP_BELOW_SITE, top - 0.03))
    return Grasp(position, HOME_YAW, np.inf, 0)


def out_of_reach(position: np.ndarray, shoulder: np.ndarray) -> float:
    """Metres by which a downward grasp at `position` f64[3] overstretches the arm.

    The wrist joint stands above the grip site and nearer to the robot, whatever the hand's yaw.
    """
    outward, up = np.linalg.norm((position - shoulder)[:2]), (position - shoulder)[2]
    wrist = np.hypot(outward - WRIST_INWARD_OF_SITE, up + WRIST_ABOVE_SITE)
    return max(0.0, float(wrist) - REACH)


def plan_grasp(
    scene: Scene,
    name: str,
    rng: np.random.Generator,
    attempt: int = 0,
    *,
    preferred_yaw: float = HOME_YAW,
    rim_depth: float = RIM_DEPTH,
) -> Grasp:
    """The best grasp of an object; later attempts add noise to the costs."""
    points = scene.object_points(name)
    reach = np.linalg.norm(np.ptp(points, axis=0)) / 2 + 0.2
    obstacles = scene.obstacles((name,)).near(scene.object_position(name), reach)
    if is_rim_object(name):
        style = "rim"
        candidates = rim_candidates(points, obstacles.count_inside, preferred_yaw, rim_depth)
    else:
        style = "solid"
        candidates = solid_candidates(points, obstacles.count_inside, preferred_yaw)
    if not candidates:
        return top_grasp(points)
    shoulder = scene.shoulder_position
    rise = np.array([0.0, 0.0, APPROACH_HEIGHT])
    stretch = [
        max(out_of_reach(at, shoulder) for at in (grasp.position, grasp.position + rise))
        for _, grasp in candidates
    ]
    costs = np.array([cost for cost, _ in candidates])
    costs += COST_PER_METRE_OUT_OF_REACH * np.array(stretch)
    costs += attempt * RETRY_NOISE[style] * rng.random(len(candidates))
    return candidates[int(costs.argmin())][1]
