"""The part to rewrite: one's own recordings -> demonstrations.

As it stands: one .npz file per episode, with `state` f[T, S], `action` f[T, A], `instruction` (a
string) and per camera of the robot uint8[T, H, W, 3] under the camera's key.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data.demonstrations import Demonstration
from semanticvla_jax.data.images import encode_jpeg
from semanticvla_jax.errors import InputError
from semanticvla_jax.robots import RobotSpec


def read_demonstrations(directory: Path, robot: RobotSpec) -> Iterator[Demonstration]:
    """Every recording, in order of name.

    Raises:
      InputError: a file is damaged or lacks an array.
    """
    for path in sorted(directory.glob("*.npz")):
        try:
            with np.load(path, allow_pickle=False) as recording:
                yield Demonstration(
                    images={
                        key: [encode_jpeg(image) for image in recording[key]]
                        for key in robot.camera_names
                    },
                    states=recording["state"].astype(np.float32),
                    actions=recording["action"].astype(np.float32),
                    instruction=str(recording["instruction"]),
                    source=path.stem,
                )
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(
                f"recording {path}",
                found=f"{type(error).__name__}: {error}",
                expected=f"state, action, instruction, {', '.join(robot.camera_names)}",
                fix="record it again, or remove it",
            ) from None
