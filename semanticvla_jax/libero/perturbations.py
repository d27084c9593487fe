"""Evaluation off the beaten track: other views, light, surfaces, clutter, positions and words.

Each kind has a strength from 0 (as in the benchmark, bit for bit) to 1, draws from a generator of
its own, and changes nothing but what it is about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace

import mujoco
import numpy as np

from semanticvla_jax.errors import InputError
from semanticvla_jax.libero.env import LiberoEnv, Placement
from semanticvla_jax.libero.jitter import Jitter, apply_jitter
from semanticvla_jax.libero.looks import Prop
from semanticvla_jax.libero.paraphrase import paraphrase

# At strength 1.
CAMERA_SHIFT, CAMERA_TURN = 0.10, np.deg2rad(8)  # m, rad
LIGHT_FACTOR, LIGHT_TINT, LIGHT_SHIFT = 2.5, 0.25, 0.5  # brighter or darker; per channel; m
DISTRACTORS = 6
_CLEARANCE = 0.05  # m, between a distractor's centre and anything else
_THIRD_PERSON = "agentview"
_ROBOT_PREFIXES = ("robot0", "gripper0", "mount0")


@dataclass(frozen=True)
class Perturbation:
    """Strengths, 0 to 1.

    Attributes:
      camera: the third-person camera moves (10 cm) and turns (8 degrees).
      light: all lights get brighter or darker (factor 2.5), tinted (25 %), and move (0.5 m).
      texture: surfaces of the room and the table fade into patterns in other colours.
      distractor: up to 6 coloured shapes stand about, drawn but not simulated.
      state: objects and arm are displaced as in `Jitter()` (target by 6 cm).
      paraphrase: a share of the command's verbs and prepositions is replaced, one at least.
    """

    camera: float = 0.0
    light: float = 0.0
    texture: float = 0.0
    distractor: float = 0.0
    state: float = 0.0
    paraphrase: float = 0.0

    @property
    def key(self) -> str:
        return ",".join(f"{kind}={value:g}" for kind, value in self.strengths.items())

    @property
    def strengths(self) -> dict[str, float]:
        """Of the kinds that are not 0."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {kind: value for kind, value in found.items() if value}


NOTHING = Perturbation()


def parse_perturbation(text: str) -> Perturbation:
    """'camera=0.5,light=1' -> Perturbation.

    Raises:
      InputError: an unknown kind, or a strength that is not from 0 to 1.
    """
    kinds = [field.name for field in fields(Perturbation)]
    strengths = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        kind, _, value = part.partition("=")
        try:
            strengths[kind] = float(value)
        except ValueError:
            strengths[kind] = -1.0
        if kind not in kinds or not 0 <= strengths[kind] <= 1:
            raise InputError(
                "--perturb",
                found=repr(part),
                expected=f"KIND=STRENGTH, strength 0 to 1, kind one of {', '.join(kinds)}",
                fix="correct it, for example camera=0.5,light=1",
            )
    return Perturbation(**strengths)


@dataclass(frozen=True)
class Perturbed:
    """A placement under a perturbation drawn from (seed, index, kind)."""

    placement: Placement
    perturbation: Perturbation
    index: int
    seed: int

    @property
    def key(self) -> str:
        return f"{self.placement.key}|{self.perturbation.key}:{self.seed}"

    def apply(self, env: LiberoEnv) -> None:
        self.placement.apply(env)
        for number, (kind, change) in enumerate(KINDS.items()):
            if strength := getattr(self.perturbation, kind):
                change(env, strength, np.random.default_rng([self.seed, self.index, number]))


def perturbed(placement: Placement, perturbation: Perturbation, index: int, seed: int) -> Placement:
    """`placement` itself where nothing is perturbed."""
    if not perturbation.strengths:
        return placement
    return Perturbed(placement, perturbation, index, seed)


def move_camera(env: LiberoEnv, strength: float, rng: np.random.Generator) -> None:
    model = env.looks.model
    camera = model.camera(_THIRD_PERSON).id
    turn, quaternion = np.zeros(4), np.zeros(4)
    mujoco.mju_axisAngle2Quat(turn, _direction(rng), strength * CAMERA_TURN)
    mujoco.mju_mulQuat(quaternion, turn, model.cam_quat[camera])
    shift = strength * CAMERA_SHIFT * _direction(rng)
    env.looks.change(model.cam_pos, camera, model.cam_pos[camera] + shift)
    env.looks.change(model.cam_quat, camera, quaternion)
    env.sim.forward()


def change_light(env: LiberoEnv, strength: float, rng: np.random.Generator) -> None:
    model, head = env.looks.model, env.looks.model.vis.headlight
    brightness = LIGHT_FACTOR ** (strength * rng.choice([-1, 1]))
    colour = brightness * (1 + strength * LIGHT_TINT * rng.uniform(-1, 1, 3))
    for array in (model.light_diffuse, model.light_ambient, model.light_specular):
        env.looks.change(array, slice(None), np.clip(array * colour, 0, 1))
    for array in (head.diffuse, head.ambient, head.specular):
        env.looks.change(array, slice(None), np.clip(array * colour, 0, 1))
    shifts = strength * LIGHT_SHIFT * rng.uniform(-1, 1, model.light_pos.shape)
    env.looks.change(model.light_pos, slice(None), model.light_pos + shifts)
    env.sim.forward()


def repaint(env: LiberoEnv, strength: float, rng: np.random.Generator) -> None:
    model = env.looks.model
    scenery = [geom for geom, owner in _owners(env) if owner == "scenery"]
    materials = sorted({int(model.geom_matid[geom]) for geom in scenery} - {-1})
    used = model.mat_texid[materials]
    for texture in sorted({int(number) for number in used.ravel()} - {-1}):
        pixels = env.looks.texture(texture).astype(np.float32)
        pattern = _pattern(pixels.shape, rng)
        blended = (1 - strength) * pixels + strength * pattern
        env.looks.paint(texture, blended.astype(np.uint8))
    for geom in scenery:
        if model.geom_matid[geom] == -1:
            rgba = model.geom_rgba[geom].copy()
            rgba[:3] = (1 - strength) * rgba[:3] + strength * rng.uniform(0, 1, 3)
            env.looks.change(model.geom_rgba, geom, rgba)


def add_distractors(env: LiberoEnv, strength: float, rng: np.random.Generator) -> None:
    height, data = env.env.workspace_offset[2], env.sim.data
    there = [geom for geom, owner in _owners(env) if owner == "thing"]
    circles = [(*data.geom_xpos[geom][:2], env.looks.model.geom_rbound[geom]) for geom in there]
    circles.append((*data.site_xpos[env.env.robots[0].eef_site_id][:2], 0.05))
    for _ in range(round(strength * DISTRACTORS)):
        radius, half = rng.uniform(0.015, 0.035, 2)
        spot = _free_spot(env.env.workspace_offset[:2], np.array(circles), rng)
        circles.append((*spot, radius))
        shape = (mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_CYLINDER)[rng.integers(2)]
        flat = shape == mujoco.mjtGeom.mjGEOM_CYLINDER  # size: radius, half height, unused
        size = (radius, half, 0.0) if flat else (radius, radius, half)
        colour = (*rng.uniform(0.1, 0.95, 3), 1.0)
        env.looks.add(Prop(shape, size, (*spot, height + half), colour))


def displace(env: LiberoEnv, strength: float, rng: np.random.Generator) -> None:
    usual = Jitter()
    scaled = {field.name: strength * getattr(usual, field.name) for field in fields(Jitter)}
    apply_jitter(env, replace(usual, **scaled), rng.integers(2**31, size=4).tolist())


def reword(env: LiberoEnv, strength: float, rng: np.random.Generator) -> None:
    env.instruction = paraphrase(env.instruction, strength, rng)


# `state` first: the others look at where things stand.
KINDS: dict[str, Callable[[LiberoEnv, float, np.random.Generator], None]] = {
    "state": displace,
    "camera": move_camera,
    "light": change_light,
    "texture": repaint,
    "distractor": add_distractors,
    "paraphrase": reword,
}


def _direction(rng: np.random.Generator) -> np.ndarray:
    """f64[3] of length 1, uniform."""
    vector = rng.normal(size=3)
    return vector / np.linalg.norm(vector)


def _owners(env: LiberoEnv) -> Iterator[tuple[int, str]]:
    """(geom, 'robot', 'thing' (an object or fixture) or 'scenery') of every visible geom."""
    model = env.looks.model
    things = set(env.env.obj_body_id.values())
    for geom in np.flatnonzero(model.geom_rgba[:, 3]):
        body = model.geom_bodyid[geom]
        root = model.body_rootid[body]
        if model.body(root).name.startswith(_ROBOT_PREFIXES):
            yield int(geom), "robot"
        else:
            yield int(geom), "thing" if things & {int(body), int(root)} else "scenery"


def _pattern(shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """f32[height, width, channels]: smooth blotches between two random colours."""
    height, width, channels = shape
    ends = rng.uniform(0, 255, (2, channels)).astype(np.float32)
    coarse = rng.uniform(0, 1, (9, 9)).astype(np.float32)
    rows, columns = np.linspace(0, 8, height), np.linspace(0, 8, width)
    across = np.stack([np.interp(columns, np.arange(9), row) for row in coarse])
    blend = np.stack([np.interp(rows, np.arange(9), column) for column in across.T], axis=1)
    return ends[0] + blend[..., None].astype(np.float32) * (ends[1] - ends[0])


def _free_spot(centre: np.ndarray, circles: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """f64[2] (m), within 30 cm of the workspace's centre, the first of 64 draws that is free.

    Args:
      centre: f64[2].
      circles: f64[n, 3], centres and radii of what is there. Where all draws are too near to
        something, the one that is farthest.
    """
    spots = centre + rng.uniform(-0.3, 0.3, (64, 2))
    gaps = np.linalg.norm(spots[:, None] - circles[:, :2], axis=2) - circles[:, 2]
    free = np.flatnonzero(gaps.min(1) > _CLEARANCE)
    return spots[free[0] if len(free) else gaps.min(1).argmax()]
