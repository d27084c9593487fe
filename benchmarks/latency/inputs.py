"""Observations that both sides draw alike, from NumPy alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Observation(NamedTuple):
    """images: uint8[I, H, W, 3], noise; state: f32[Q]."""

    images: np.ndarray
    state: np.ndarray


def observation(index: int, cameras: int, pixels: int, state: int) -> Observation:
    """Number `index` of an endless series, no two alike."""
    generator = np.random.default_rng(index)
    images = generator.integers(0, 256, (cameras, pixels, pixels, 3), np.uint8)
    return Observation(images, generator.normal(0, 0.1, state).astype(np.float32))
