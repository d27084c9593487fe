"""From a client's message to an observation, or to an error that says what to fix.

A policy checks what its own programs give it; this checks what anybody may send: types, and sizes
that would cost memory or time before the policy looks at them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from semanticvla_jax.client import wire
from semanticvla_jax.client.errors import ServingError
from semanticvla_jax.robots import Camera, RobotSpec

LONGEST_INSTRUCTION = 500  # characters
LARGEST_IMAGE = 4096  # pixels of a side
SMALLEST_IMAGE = 8

OTHER_NAMES = {"prompt": "instruction"}
"""openpi's name -> ours; a leading `observation/` is openpi's, too, and dropped."""


def read_observation(message: bytes, robot: RobotSpec) -> dict[str, Any]:
    """Cameras, `state` and `instruction` of a message, and `reset` and `last_action` if there.

    `reset`: whether an episode begins; `last_action`: f32[A] executed before, in the controller's
    units. Other entries are ignored.

    Raises:
      ServingError: "bad_message" (no msgpack), "unknown_robot", "bad_observation".
    """
    try:
        entries = wire.decode(message)
    except wire.WireError as error:
        raise ServingError(
            "bad_message",
            "the message cannot be read",
            found=error,
            expected="a msgpack map with NumPy arrays as openpi-client writes them",
            fix="send with semanticvla_jax.client or openpi-client",
        ) from None
    if not isinstance(entries, dict):
        raise _bad("the message", type(entries).__name__, "a map", "send a dict of observations")
    entries = {_name(key): value for key, value in entries.items() if isinstance(key, str)}
    if entries.get("robot", robot.name) != robot.name:
        raise ServingError(
            "unknown_robot",
            "the policy acts for another robot",
            found=entries["robot"],
            expected=robot.name,
            fix="ask the server of your robot's policy",
        )
    wanted = (*robot.camera_names, "state", "instruction")
    missing = [name for name in wanted if name not in entries]
    if missing:
        raise _bad(
            "the observation", f"keys {sorted(entries)}", ", ".join(wanted), f"add {missing}"
        )
    return {
        **{camera.key: _image(camera, entries[camera.key]) for camera in robot.cameras},
        "state": _state(entries["state"], robot),
        "instruction": _instruction(entries["instruction"]),
        **({"reset": _reset(entries["reset"])} if "reset" in entries else {}),
        **(
            {"last_action": _action(entries["last_action"], robot)}
            if "last_action" in entries
            else {}
        ),
    }


def _name(key: str) -> str:
    key = key.removeprefix("observation/")
    return OTHER_NAMES.get(key, key)


def _image(camera: Camera, image: Any) -> np.ndarray:
    sides = image.shape[:2] if isinstance(image, np.ndarray) and image.ndim == 3 else (0, 0)
    fits = all(SMALLEST_IMAGE <= side <= LARGEST_IMAGE for side in sides)
    if not fits or image.dtype != np.uint8 or image.shape[2] != 3:
        raise _bad(
            camera.key,
            _describe(image),
            f"uint8[H, W, 3] with sides of {SMALLEST_IMAGE} to {LARGEST_IMAGE} pixels",
            "send the raw RGB camera image",
        )
    if camera.square and sides[0] != sides[1]:
        raise _bad(
            camera.key, _describe(image), "a square image, as in training", "crop or render it so"
        )
    return image


def _state(state: Any, robot: RobotSpec) -> np.ndarray:
    return _numbers("state", state, robot.state_names, "send the raw proprioceptive state")


def _action(action: Any, robot: RobotSpec) -> np.ndarray:
    return _numbers("last_action", action, robot.action_names, "send the action as it was executed")


def _reset(value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise _bad("reset", _describe(value), "true or false", "send true when an episode begins")
    return bool(value)


def _numbers(what: str, numbers: Any, names: Sequence[str], fix: str) -> np.ndarray:
    expected = f"{len(names)} finite numbers: {', '.join(names)}"
    try:
        array = np.asarray(numbers)
    except ValueError:
        raise _bad(what, "a list of lists of different lengths", expected, fix) from None
    if array.shape != (len(names),) or array.dtype.kind not in "iuf":
        raise _bad(what, _describe(numbers), expected, fix)
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    if not np.isfinite(single).all():
        raise _bad(what, single.tolist(), expected, fix)
    return single


def _instruction(text: Any) -> str:
    if not isinstance(text, str) or len(text) > LONGEST_INSTRUCTION:
        raise _bad(
            "instruction",
            f"{len(text)} characters" if isinstance(text, str) else _describe(text),
            f"a string of at most {LONGEST_INSTRUCTION} characters",
            "send one short sentence",
        )
    return text


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return type(value).__name__


def _bad(what: str, found: Any, expected: str, fix: str) -> ServingError:
    return ServingError("bad_observation", what, found=found, expected=expected, fix=fix)
