"""Collision boxes and how their tables are read."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Box(NamedTuple):
    """An oriented box: centre f[3] in metres, orientation f[4] (wxyz), half extents f[3]."""

    centre: tuple[float, ...]
    orientation: tuple[float, ...]
    half_extents: tuple[float, ...]

    @property
    def rotation(self) -> np.ndarray:
        """f64[3, 3], from the box's frame to its body's frame."""
        w, x, y, z = np.asarray(self.orientation) / np.linalg.norm(self.orientation)
        return np.array([
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ])  # fmt: skip


def parse_boxes(table: str) -> list[Box]:
    """Reads `centre | orientation | half extents` lines."""
    lines = [line for line in table.splitlines() if line.strip()]
    return [Box(*(tuple(map(float, part.split())) for part in line.split("|"))) for line in lines]
