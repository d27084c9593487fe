"""Random crops and colours of training images (released pipeline: dlimp's augmentations)."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from semanticvla_jax.data import images
from semanticvla_jax.data.compiled import compiled

_ZERO, _ONE, _TINY = np.float32(0), np.float32(1), np.float32(1e-12)


@compiled
def adjust_brightness(planes: np.ndarray, delta: float) -> np.ndarray:
    """f32[3, H, W] + delta, clipped to [0, 1]."""
    return np.minimum(np.maximum(planes + np.float32(delta), _ZERO), _ONE)


@compiled
def adjust_contrast(planes: np.ndarray, factor: float) -> np.ndarray:
    """Scales the distance of f32[3, H, W] to each plane's mean; clipped."""
    _, height, width = planes.shape
    factor, out = np.float32(factor), np.empty_like(planes)
    for colour in range(3):
        columns = np.zeros(width, np.float32)
        for y in range(height):
            for x in range(width):
                columns[x] += planes[colour, y, x]
        mean = np.float32(columns.sum() / (height * width))
        for y in range(height):
            for x in range(width):
                scaled = (planes[colour, y, x] - mean) * factor + mean
                out[colour, y, x] = min(max(scaled, _ZERO), _ONE)
    return out


@compiled
def adjust_saturation(planes: np.ndarray, factor: float) -> np.ndarray:
    """Scales HSV saturation of f32[3, H, W], saturating at 1; hue and value stay."""
    out = np.empty_like(planes)
    for y in range(planes.shape[1]):
        for x in range(planes.shape[2]):
            red, green, blue = planes[0, y, x], planes[1, y, x], planes[2, y, x]
            value = max(red, green, blue)
            chroma = value - min(red, green, blue)
            scale = min(np.float32(factor), value / max(chroma, _TINY))
            out[0, y, x] = min(max(value - (value - red) * scale, _ZERO), _ONE)
            out[1, y, x] = min(max(value - (value - green) * scale, _ZERO), _ONE)
            out[2, y, x] = min(max(value - (value - blue) * scale, _ZERO), _ONE)
    return out


@compiled
def adjust_hue(planes: np.ndarray, delta: float) -> np.ndarray:
    """Rotates HSV hue of f32[3, H, W] by `delta` turns; saturation and value stay."""
    six, four, two = np.float32(6), np.float32(4), np.float32(2)
    out = np.empty_like(planes)
    for y in range(planes.shape[1]):
        for x in range(planes.shape[2]):
            red, green, blue = planes[0, y, x], planes[1, y, x], planes[2, y, x]
            value = max(red, green, blue)
            chroma = value - min(red, green, blue)
            inverse = _ONE / max(chroma, _TINY)
            sextant = four + (red - green) * inverse
            sextant = two + (blue - red) * inverse if value == green else sextant
            sextant = (green - blue) * inverse if value == red else sextant
            for colour in range(3):
                turned = sextant + np.float32(6 * delta + 5 - 2 * colour)
                turned -= six * np.floor(turned / six)
                share = min(max(min(turned, four - turned), _ZERO), _ONE)
                out[colour, y, x] = min(max(value - chroma * share, _ZERO), _ONE)
    return out


def independent_offsets(rng: np.random.Generator, room: float) -> tuple[float, float]:
    """(top, left) of a crop, each uniform in [0, room]."""
    return rng.uniform(0, room), rng.uniform(0, room)


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
        return image if self._changes_nothing else self.draw(rng).apply(image)

    @functools.cached_property
    def _changes_nothing(self) -> bool:
        return dataclasses.replace(self, offsets=independent_offsets) == NO_AUGMENTATION


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
        adjustments = self.adjustments()
        if self.side == 1 and not adjustments:
            return image
        planes = self.crop(image)
        for adjust in adjustments:
            planes = adjust(planes)
        return images.from_planes(planes)

    def crop(self, image: np.ndarray) -> np.ndarray:
        """uint8[S, S, 3] -> f32[3, S, S]: the window, enlarged again, as colour planes."""
        if self.side == 1:
            return images.to_planes(image)
        return images.crop_and_resize(image, self.top, self.left, self.side, image.shape[0])

    def adjustments(self) -> list[Callable[[np.ndarray], np.ndarray]]:
        """Functions f32[3, S, S] -> f32[3, S, S], in order."""
        choices = (
            (adjust_brightness, self.brightness, 0),
            (adjust_contrast, self.contrast, 1),
            (adjust_saturation, self.saturation, 1),
            (adjust_hue, self.hue, 0),
        )
        return [
            lambda planes, adjust=adjust, amount=amount: adjust(planes, amount)
            for adjust, amount, neutral in choices
            if amount != neutral
        ]
