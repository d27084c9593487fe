"""Random crops and colours of training images (released pipeline: dlimp's augmentations)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from semanticvla_jax.data import images


def adjust_brightness(planes: np.ndarray, delta: float) -> np.ndarray:
    """f32[3, H, W] + delta, clipped to [0, 1]."""
    return np.clip(planes + np.float32(delta), 0, 1)


def adjust_contrast(planes: np.ndarray, factor: float) -> np.ndarray:
    """Scales the distance of f32[3, H, W] to each plane's mean; clipped."""
    mean = planes.mean((1, 2), keepdims=True)
    return np.clip((planes - mean) * np.float32(factor) + mean, 0, 1)


def adjust_saturation(planes: np.ndarray, factor: float) -> np.ndarray:
    """Scales HSV saturation of f32[3, H, W], saturating at 1; hue and value stay."""
    value, chroma = _value_and_chroma(planes)
    largest = value / np.maximum(chroma, _TINY)
    return np.clip(value - (value - planes) * np.minimum(np.float32(factor), largest), 0, 1)


def adjust_hue(planes: np.ndarray, delta: float) -> np.ndarray:
    """Rotates HSV hue of f32[3, H, W] by `delta` turns; saturation and value stay."""
    red, green, blue = planes
    value, chroma = _value_and_chroma(planes)
    inverse = 1 / np.maximum(chroma, _TINY)
    sextant = np.where(
        value == red,
        (green - blue) * inverse,
        np.where(value == green, 2 + (blue - red) * inverse, 4 + (red - green) * inverse),
    )
    rotated = np.empty_like(planes)
    for plane, corner in zip(rotated, (5, 3, 1), strict=True):
        shifted = np.mod(sextant + np.float32(6 * delta + corner), np.float32(6))
        np.subtract(value, chroma * np.clip(np.minimum(shifted, 4 - shifted), 0, 1), out=plane)
    return np.clip(rotated, 0, 1)


_TINY = np.float32(1e-12)


def _value_and_chroma(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    red, green, blue = planes
    value = np.maximum(np.maximum(red, green), blue)
    return value, value - np.minimum(np.minimum(red, green), blue)


def independent_offsets(rng: np.random.Generator, room: float) -> tuple[float, float]:
    """(top, left) of a crop, each uniform in [0, room]."""
    top, left = rng.uniform(0, room, 2)
    return top, left


def diagonal_offsets(rng: np.random.Generator, room: float) -> tuple[float, float]:
    """The released pipeline's crops: both offsets come from one seed, hence are equal."""
    offset = rng.uniform(0, room)
    return offset, offset


OFFSETS = {"independent": independent_offsets, "diagonal": diagonal_offsets}


@dataclass(frozen=True)
class Augmentation:
    """Crop, brightness, contrast, saturation, hue, in this order, clipped after each.

    Attributes:
      crop_area: fraction of the image kept; 1 = no crop.
      brightness: largest shift, of values in [0, 1].
      contrast, saturation: ranges of the factor.
      hue: largest rotation, in turns.
      offsets: draws a crop's (top, left).
    """

    crop_area: float = 0.9
    brightness: float = 0.2
    contrast: tuple[float, float] = (0.8, 1.2)
    saturation: tuple[float, float] = (0.8, 1.2)
    hue: float = 0.05
    offsets: Callable[[np.random.Generator, float], tuple[float, float]] = independent_offsets

    def draw(self, rng: np.random.Generator) -> Draw:
        """The random choices for one image; always the same number of draws."""
        side = math.sqrt(self.crop_area)
        top, left = self.offsets(rng, 1 - side)
        return Draw(
            top=top,
            left=left,
            side=side,
            brightness=rng.uniform(-self.brightness, self.brightness),
            contrast=rng.uniform(*self.contrast),
            saturation=rng.uniform(*self.saturation),
            hue=rng.uniform(-self.hue, self.hue),
        )

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """uint8[S, S, 3] -> uint8[S, S, 3]."""
        return self.draw(rng).apply(image)


NO_AUGMENTATION = Augmentation(1.0, 0.0, (1.0, 1.0), (1.0, 1.0), 0.0)


@dataclass(frozen=True)
class Draw:
    """The random choices made for one image."""

    top: float
    left: float
    side: float
    brightness: float
    contrast: float
    saturation: float
    hue: float

    def apply(self, image: np.ndarray) -> np.ndarray:
        """uint8[S, S, 3] -> uint8[S, S, 3]; operations that would do nothing are left out."""
        steps = self.steps(image.shape[0])
        if not steps:
            return image
        planes = images.to_planes(image)
        for step in steps:
            planes = step(planes)
        return images.from_planes(planes)

    def steps(self, size: int) -> list:
        """Functions f32[3, S, S] -> f32[3, size, size], in order."""
        steps = []
        if self.side < 1:
            steps.append(
                lambda planes: images.crop_and_resize(planes, self.top, self.left, self.side, size)
            )
        for adjust, amount, neutral in (
            (adjust_brightness, self.brightness, 0),
            (adjust_contrast, self.contrast, 1),
            (adjust_saturation, self.saturation, 1),
            (adjust_hue, self.hue, 0),
        ):
            if amount != neutral:
                steps.append(lambda planes, adjust=adjust, amount=amount: adjust(planes, amount))
        return steps
