"""JPEG and geometry: the image operations of the released pipeline, without TensorFlow.

Every function reproduces its TensorFlow counterpart to one grey level.
"""

from __future__ import annotations

import io
import math

import numpy as np
import simplejpeg
from PIL import Image

from semanticvla_jax.data import resampling
from semanticvla_jax.data.compiled import compiled


def decode_jpeg(data: bytes) -> np.ndarray:
    """uint8[H, W, 3], bit for bit what `tf.io.decode_jpeg` gives."""
    return simplejpeg.decode_jpeg(data, fastdct=True)


def encode_jpeg(image: np.ndarray, quality: int = 95) -> bytes:
    """uint8[H, W, 3] -> JPEG with halved chroma, as `tf.io.encode_jpeg` writes it."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=2)
    return file.getvalue()


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """uint8[H, W, 3] -> uint8[size, size, 3]: Lanczos-3, antialiased, rounded and clipped."""
    if image.shape[:2] == (size, size):
        return image
    return resampling.resize(np.ascontiguousarray(image), size)


@compiled
def to_planes(image: np.ndarray) -> np.ndarray:
    """uint8[H, W, 3] -> f32[3, H, W] in [0, 1]: colour planes, fast to compute with."""
    height, width, _ = image.shape
    planes = np.empty((3, height, width), np.float32)
    for y in range(height):
        for x in range(width):
            for colour in range(3):
                planes[colour, y, x] = image[y, x, colour] * np.float32(1 / 255)
    return planes


@compiled
def from_planes(planes: np.ndarray) -> np.ndarray:
    """f32[3, H, W] in [0, 1] -> uint8[H, W, 3]; times 255.5, truncated, as TensorFlow does."""
    _, height, width = planes.shape
    image = np.empty((height, width, 3), np.uint8)
    for y in range(height):
        for x in range(width):
            for colour in range(3):
                value = planes[colour, y, x] * np.float32(255.5)
                image[y, x, colour] = np.uint8(min(max(value, np.float32(0)), np.float32(255)))
    return image


def crop_and_resize(
    image: np.ndarray, top: float, left: float, side: float, size: int
) -> np.ndarray:
    """Bilinear, corner-aligned: uint8[H, W, 3] -> f32[3, size, size] in [0, 1], as `to_planes`.

    Args:
      image: to cut from.
      top, left, side: the square window as fractions of the image's height and width.
      size: pixels of the result.
    """
    height, width, _ = image.shape
    rows, columns = _samples(top, side, height, size), _samples(left, side, width, size)
    return _interpolate(np.ascontiguousarray(image), *rows, *columns)


def _samples(start: float, side: float, source: int, target: int):
    position = start * (source - 1) + np.arange(target) * (side * (source - 1) / (target - 1))
    before = np.minimum(np.floor(position).astype(np.uint64), np.uint64(source - 1))
    after = np.minimum(before + np.uint64(1), np.uint64(source - 1))
    return before, after, (position - before).astype(np.float32)


@compiled
def _interpolate(image, upper, lower, down, before, after, right):
    """`down` of the way between rows, then `right` of the way between columns; clipped."""
    height, width, _ = image.shape
    lines, line = image.reshape(height, 3 * width), np.empty(3 * width, np.float32)
    out, unit = np.empty((3, len(upper), len(before)), np.float32), np.float32(1 / 255)
    before, after = before * np.uint64(3), after * np.uint64(3)
    for y in range(len(upper)):
        above, below = lines[upper[y]], lines[lower[y]]
        for x in range(len(line)):
            value = above[x] * unit
            line[x] = value + (below[x] * unit - value) * down[y]
        for colour in range(3):
            offset = np.uint64(colour)
            for x in range(len(before)):
                near = line[before[x] + offset]
                value = near + (line[after[x] + offset] - near) * right[x]
                out[colour, y, x] = min(max(value, np.float32(0)), np.float32(1))
    return out


def centre_crop(image: np.ndarray, area: float = 0.9) -> np.ndarray:
    """uint8[H, H, 3] -> uint8[H, H, 3]: the central window of that area, enlarged again."""
    if area == 1:
        return image
    side = math.sqrt(area)
    offset = (1 - side) / 2
    return from_planes(crop_and_resize(image, offset, offset, side, image.shape[0]))


def evaluation_image(image: np.ndarray, size: int, crop_area: float = 0.9) -> np.ndarray:
    """A camera image at rollout as the model was trained to see it.

    JPEG round trip (demonstrations are stored as JPEG), Lanczos-3 to `size`, central crop.

    Args:
      image: uint8[H, W, 3], already rotated as in the datasets.
      size: pixels of the model's input.
      crop_area: of the training crops; 1 if training did not crop.

    Returns:
      uint8[size, size, 3].
    """
    return centre_crop(resize(decode_jpeg(encode_jpeg(image)), size), crop_area)
