"""Reads LIBERO's HDF5 files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from data.demonstrations import Demonstration
from data.libero_expert.episode import is_no_op
from semanticvla_jax.data.images import encode_jpeg
from semanticvla_jax.errors import InputError
from semanticvla_jax.libero.suites import instruction_from_name

CAMERAS = {"image": "agentview_rgb", "wrist_image": "eye_in_hand_rgb"}
SUFFIX = "_demo.hdf5"


def find_files(path: Path) -> list[Path]:
    """The demonstration files in a directory, or the one named.

    Raises:
      InputError: there are none.
    """
    files = [path] if path.is_file() else sorted(path.glob(f"*{SUFFIX}"))
    if not files:
        raise InputError(
            f"demonstrations {path}",
            found="no such file or directory" if not path.exists() else f"no *{SUFFIX}",
            expected=f"LIBERO's TASK{SUFFIX} files",
            fix="name the directory of one suite, as LIBERO's download script leaves it",
        )
    return files


def instruction_of(path: Path) -> str:
    """KITCHEN_SCENE3_turn_on_the_stove_demo.hdf5 -> turn on the stove."""
    return instruction_from_name(path.name.removesuffix(SUFFIX))


def read_demonstrations(path: Path) -> Iterator[Demonstration]:
    """All of one file, in the order of their numbers.

    Raises:
      InputError: the file is no such file, or damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            for name in sorted(file["data"], key=lambda name: int(name.split("_")[1])):
                yield _demonstration(
                    file["data"][name], instruction_of(path), f"{path.stem}/{name}"
                )
    except (OSError, KeyError, ValueError, IndexError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"demonstrations {path}",
            found=f"{type(error).__name__}: {error}",
            expected="data/demo_N/{actions, obs/...} as LIBERO writes them",
            fix="download the file again",
        ) from None


def _demonstration(group: h5py.Group, instruction: str, source: str) -> Demonstration:
    observations = group["obs"]
    actions = group["actions"][1:].astype(np.float32)  # the answer to the observation before
    kept = kept_steps(actions)
    states = np.concatenate([observations["ee_states"], observations["gripper_states"]], axis=1)
    return Demonstration(
        images={
            camera: [encode_jpeg(rotate(image)) for image in observations[key][:-1][kept]]
            for camera, key in CAMERAS.items()
        },
        states=states[:-1][kept].astype(np.float32),
        actions=actions[kept],
        instruction=instruction,
        source=source,
    )


def kept_steps(actions: np.ndarray) -> np.ndarray:
    """i64[n]: steps of f32[T, 7] that are no no-ops; grippers are compared with the last kept."""
    kept: list[int] = []
    for step, action in enumerate(actions):
        if not is_no_op(action, actions[kept[-1]] if kept else None):
            kept.append(step)
    return np.array(kept, np.int64)


def rotate(image: np.ndarray) -> np.ndarray:
    """By 180 degrees."""
    return np.ascontiguousarray(image[::-1, ::-1])
