"""Which LeRobot feature is which camera, state and action of a robot.

By rule, camera `image` is `observation.images.image` or plain `image`, and the state
`observation.state` or `state`. Where the datasets of a robot have other names, they stand here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from semanticvla_jax.errors import InputError
from semanticvla_jax.robots import RobotSpec

ALIASES: Mapping[str, tuple[str, ...]] = {
    "wrist_image": ("observation.images.image2", "observation.images.wrist"),
    "left_wrist_image": ("observation.images.cam_left_wrist",),
    "right_wrist_image": ("observation.images.cam_right_wrist",),
    "image": ("observation.images.cam_high", "observation.images.top"),
}


@dataclass(frozen=True)
class Features:
    """Names of features in one dataset, cameras in the robot's order."""

    cameras: tuple[str, ...]
    state: str
    action: str


def find_features(declared: Mapping[str, dict], robot: RobotSpec, where: str) -> Features:
    """Chooses among the features of info.json.

    Raises:
      InputError: one is missing or ambiguous, or of another size than the robot's.
    """
    features = Features(
        cameras=tuple(
            _one_of(declared, _camera_names(key), f"camera {key!r}", where)
            for key in robot.camera_names
        ),
        state=_one_of(
            declared, (f"observation.{robot.state_key}", robot.state_key), "the state", where
        ),
        action=_one_of(declared, ("action", "actions"), "the action", where),
    )
    _check_size(declared, features.state, robot.state_size, robot, where)
    _check_size(declared, features.action, robot.action_size, robot, where)
    return features


def _camera_names(key: str) -> tuple[str, ...]:
    return f"observation.images.{key}", key, *ALIASES.get(key, ())


def _one_of(declared: Mapping, names: tuple[str, ...], what: str, where: str) -> str:
    found = [name for name in names if name in declared]
    if len(found) != 1:
        raise InputError(
            f"{what} in LeRobot dataset {where}",
            found=f"the features {sorted(declared)}",
            expected=f"exactly one of {', '.join(names)}",
            fix="choose the robot the dataset was recorded with (config.robot), or add the name to "
            "ALIASES in semanticvla_jax/data/lerobot_features.py",
        )
    return found[0]


def _check_size(declared: Mapping, name: str, size: int, robot: RobotSpec, where: str) -> None:
    shape = tuple(declared[name].get("shape", ()))
    if shape != (size,):
        raise InputError(
            f"{name} of LeRobot dataset {where}",
            found=f"shape {shape}",
            expected=f"shape ({size},) for robot {robot.name!r}",
            fix="choose the robot the dataset was recorded with (config.robot), or describe it in "
            "semanticvla_jax/robots.py",
        )
