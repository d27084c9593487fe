"""What training needs of a dataset, whatever its format: episodes with random access to frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import simplejpeg

from semanticvla_jax.errors import InputError


class EpisodeSource(Protocol):
    """N frames in E episodes of one dataset, read for a robot with I cameras.

    Picklable, and safe to read from several threads; worker processes get copies.

    Attributes:
      name: of the dataset; names its statistics too.
      states: f32[N, S] as stored.
      actions: f32[N, A] as stored.
      episode_start: i64[E + 1], first frame of each episode; the last entry is N.
      instructions: E instructions.
    """

    name: str
    states: np.ndarray
    actions: np.ndarray
    episode_start: np.ndarray
    instructions: tuple[str, ...]

    @property
    def episode_count(self) -> int:
        """E."""
        return len(self.instructions)

    @property
    def frame_count(self) -> int:
        """N."""
        return len(self.actions)

    @property
    def camera_size(self) -> int:
        """Height in pixels of the first camera's stored images."""
        height, _, _, _ = simplejpeg.decode_jpeg_header(self.jpegs(0)[0])
        return height

    def jpegs(self, frame: int) -> list[bytes]:
        """The I encoded images of a frame, in the robot's camera order."""

    def file(self, frame: int) -> Path:
        """Where the first of them is stored."""


Tell = Callable[[InputError], None]
"""Takes a problem of one file or episode; if it returns, reading goes on without that part."""


def refuse(problem: InputError) -> None:
    """Training's way: the first problem ends it."""
    raise problem


def finite(values: np.ndarray, names: tuple[str, ...], what: str, where: str) -> np.ndarray:
    """f[T, D] as given.

    Raises:
      InputError: a number is NaN or infinite; names the first.
    """
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        step, dim = bad[0]
        raise InputError(
            f"{what} at step {step} of {where}",
            found=f"{names[dim]} = {values[step, dim]}",
            expected=f"finite numbers ({len(bad)} of {values.size} are not)",
            fix="remove or correct that episode and write the dataset again",
        )
    return values
