"""What a robot is: its cameras, state, actions, units, signs and control rate.

Everything that depends on the robot reads it from a `RobotSpec`; to bring your own robot, write one
and add it to `ROBOTS`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from semanticvla_jax.errors import choose


class Gripper(Protocol):
    """Converts gripper dims between the dataset's, the training and the environment's values."""

    def to_training(self, actions: np.ndarray) -> np.ndarray:
        """f[..., A] as stored in the dataset -> f[..., A] as the model learns them."""

    def to_environment(self, actions: np.ndarray) -> np.ndarray:
        """f[..., A] un-normalised model output -> f[..., A] as the controller takes them."""


@dataclass(frozen=True)
class BinaryGripper:
    """LIBERO's: -1 = open, +1 = close outside; 1 = open, 0 = close in training (released code)."""

    index: int

    def to_training(self, actions: np.ndarray) -> np.ndarray:
        actions = np.array(actions)
        actions[..., self.index] = 1 - np.clip(actions[..., self.index], 0, 1)
        return actions

    def to_environment(self, actions: np.ndarray) -> np.ndarray:
        """-sign(2 g - 1); a prediction of exactly one half gives 0, as in the released code."""
        actions = np.array(actions)
        actions[..., self.index] = -np.sign(2 * actions[..., self.index] - 1)
        return actions


@dataclass(frozen=True)
class SameGripper:
    """Gripper values are used as stored, in training and in the environment."""

    def to_training(self, actions: np.ndarray) -> np.ndarray:
        return actions

    def to_environment(self, actions: np.ndarray) -> np.ndarray:
        return actions


@dataclass(frozen=True)
class Camera:
    """One camera: its key under `steps/observation/` and what it sees."""

    key: str
    description: str
    square: bool = False  # images of another aspect are an error, not silently squeezed


@dataclass(frozen=True)
class Dimension:
    """One number of the state or the action, and what it can be at most."""

    name: str
    unit: str
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True)
class RobotSpec:
    """A robot as datasets, model and policy see it.

    Attributes:
      name: what configurations call it.
      cameras: in the order in which the model sees them.
      state_key: the proprioception's key under `steps/observation/`.
      state: the S proprioceptive dims.
      action: the A action dims.
      action_frame: what an action means to the controller.
      action_groups: group name -> indices into the action, in output order. The last word of a
        name (translation, rotation, gripper) is the kind of action token it belongs to.
      action_normalised: bool[A]; dims that are normalised in training (the `mask` of the released
        statistics).
      normalisation: "bounds_q99" (1 % and 99 % quantiles) or "bounds" (minimum and maximum).
      chunk_length: K, actions predicted at once.
      control_rate: Hz.
      gripper: sign conventions.
      moves: action dim -> the state dim it moves, in the same direction.
      absolute: whether those actions say where to go; else by how much (delta).
      opening: gripper's action dim -> (state dim, sign) of its fingers: a larger sum = more open.
    """

    name: str
    cameras: tuple[Camera, ...]
    state_key: str
    state: tuple[Dimension, ...]
    action: tuple[Dimension, ...]
    action_frame: str
    action_groups: Mapping[str, tuple[int, ...]]
    action_normalised: tuple[bool, ...]
    normalisation: str
    chunk_length: int
    control_rate: float
    gripper: Gripper
    moves: Mapping[int, int] = field(default_factory=dict)
    absolute: bool = False
    opening: Mapping[int, tuple[tuple[int, float], ...]] = field(default_factory=dict)

    @property
    def camera_names(self) -> tuple[str, ...]:
        return tuple(camera.key for camera in self.cameras)

    @property
    def state_names(self) -> tuple[str, ...]:
        return tuple(dimension.name for dimension in self.state)

    @property
    def action_names(self) -> tuple[str, ...]:
        return tuple(dimension.name for dimension in self.action)

    @property
    def state_size(self) -> int:
        return len(self.state)

    @property
    def action_size(self) -> int:
        return len(self.action)

    @property
    def action_kinds(self) -> dict[str, tuple[int, ...]]:
        """Kind -> indices of all its groups, e.g. both arms' grippers."""
        kinds: dict[str, tuple[int, ...]] = {}
        for group, indices in self.action_groups.items():
            kind = group.rsplit("_", 1)[-1]
            kinds[kind] = kinds.get(kind, ()) + tuple(indices)
        return kinds


def _dimensions(unit: str, *names: str, within: float) -> tuple[Dimension, ...]:
    return tuple(Dimension(name, unit, -within, within) for name in names)


LIBERO = RobotSpec(
    name="libero",
    cameras=(
        Camera("image", "third-person view of the scene, rotated by 180 degrees", square=True),
        Camera("wrist_image", "view from the wrist, rotated by 180 degrees", square=True),
    ),
    state_key="state",
    state=(
        *_dimensions("m", "x", "y", "z", within=3),
        *_dimensions("rad", "axis_angle_x", "axis_angle_y", "axis_angle_z", within=2 * math.pi),
        *_dimensions("m", "left_finger", "right_finger", within=0.06),
    ),
    action=(
        *_dimensions("1 = 0.05 m", "delta_x", "delta_y", "delta_z", within=1),
        *_dimensions(
            "1 = 0.5 rad", "delta_rotation_x", "delta_rotation_y", "delta_rotation_z", within=1
        ),
        *_dimensions("-1 = open, +1 = close", "gripper", within=1),
    ),
    action_frame="end-effector pose change in the robot's base frame (OSC_POSE controller)",
    action_groups={"translation": (0, 1, 2), "rotation": (3, 4, 5), "gripper": (6,)},
    action_normalised=(True,) * 6 + (False,),
    normalisation="bounds_q99",
    chunk_length=8,
    control_rate=20.0,
    gripper=BinaryGripper(6),
    moves={0: 0, 1: 1, 2: 2},
    opening={6: ((6, 1.0), (7, -1.0))},
)

_ALOHA_JOINTS = tuple(
    f"{arm}_{joint}"
    for arm in ("left", "right")
    for joint in ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
    + ("gripper",)
)
_ALOHA_DIMENSIONS = tuple(
    Dimension(name, "opening, 0 to 1", -0.2, 1.2)
    if name.endswith("gripper")
    else Dimension(name, "rad", -math.pi, math.pi)
    for name in _ALOHA_JOINTS
)

ALOHA = RobotSpec(
    name="aloha",
    cameras=(
        Camera("image", "view from above"),
        Camera("left_wrist_image", "view from the left wrist"),
        Camera("right_wrist_image", "view from the right wrist"),
    ),
    state_key="state",
    state=_ALOHA_DIMENSIONS,
    action=_ALOHA_DIMENSIONS,
    action_frame="absolute joint positions of both arms",
    action_groups={
        "left_translation": (0, 1, 2),
        "left_rotation": (3, 4, 5),
        "left_gripper": (6,),
        "right_translation": (7, 8, 9),
        "right_rotation": (10, 11, 12),
        "right_gripper": (13,),
    },
    action_normalised=(True,) * 14,
    normalisation="bounds",
    chunk_length=25,
    control_rate=25.0,
    gripper=SameGripper(),
    moves={dim: dim for dim in range(14)},
    absolute=True,
    opening={6: ((6, 1.0),), 13: ((13, 1.0),)},
)

# Settings of autoregressive baselines, which predict one action at a time.
LIBERO_SINGLE_STEP = dataclasses.replace(LIBERO, name="libero_single_step", chunk_length=1)
LIBERO_ONE_CAMERA = dataclasses.replace(
    LIBERO_SINGLE_STEP, name="libero_one_camera", cameras=LIBERO.cameras[:1]
)

ROBOTS: dict[str, RobotSpec] = {
    robot.name: robot for robot in (LIBERO, ALOHA, LIBERO_SINGLE_STEP, LIBERO_ONE_CAMERA)
}


def find_robot(name: str) -> RobotSpec:
    """The robot of that name.

    Raises:
      InputError: unknown name; lists the choices.
    """
    fix = "set config.robot, or describe a new robot in semanticvla_jax/robots.py"
    return choose(ROBOTS, name, "robot", fix)
