"""JPEG and geometry: the image operations of the released pipeline, without TensorFlow.

Every function reproduces its TensorFlow counterpart to one grey level.
"""

from __future__ import annotations

import io
import math
from functools import lru_cache

import numpy as np
import simplejpeg
from PIL import Image
from scipy.sparse import csr_array


def decode_jpeg(data: bytes) -> np.ndarray:
    """uint8[H, W, 3], bit for bit what `tf.io.decode_jpeg` gives."""
    return simplejpeg.decode_jpeg(data, fastdct=True)


def encode_jpeg(image: np.ndarray, quality: int = 95) -> bytes:
    """uint8[H, W, 3] -> JPEG with halved chroma, as `tf.io.encode_jpeg` writes it."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=2)
    return file.getvalue()


@lru_cache(maxsize=64)
def lanczos3_matrix(source: int, target: int) -> csr_array:
    """f32[target, source]: antialiased Lanczos-3 resampling of one axis; rows sum to 1."""
    scale = source / target
    width = max(scale, 1.0)
    centre = (np.arange(target) + 0.5) * scale - 0.5
    offset = (centre[:, None] - np.arange(source)) / width
    weights = np.where(np.abs(offset) < 3, np.sinc(offset) * np.sinc(offset / 3), 0.0)
    return csr_array((weights / weights.sum(1, keepdims=True)).astype(np.float32))


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """uint8[H, W, 3] -> uint8[size, size, 3]: Lanczos-3, antialiased, rounded and clipped."""
    height, width, channels = image.shape
    if (height, width) == (size, size):
        return image
    rows = lanczos3_matrix(height, size) @ image.reshape(height, -1).astype(np.float32)
    columns = rows.reshape(size, width, channels).transpose(1, 0, 2).reshape(width, -1)
    resized = lanczos3_matrix(width, size) @ columns
    resized = np.clip(np.rint(resized), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(resized.reshape(size, size, channels).transpose(1, 0, 2))


def to_planes(image: np.ndarray) -> np.ndarray:
    """uint8[H, W, 3] -> f32[3, H, W] in [0, 1]: colour planes, fast to compute with."""
    return np.multiply(image.transpose(2, 0, 1), np.float32(1 / 255), order="C", dtype=np.float32)


def from_planes(planes: np.ndarray) -> np.ndarray:
    """f32[3, H, W] in [0, 1] -> uint8[H, W, 3]; times 255.5, truncated, as TensorFlow does."""
    scaled = np.clip(planes * np.float32(255.5), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(scaled.transpose(1, 2, 0))


def crop_and_resize(
    planes: np.ndarray, top: float, left: float, side: float, size: int
) -> np.ndarray:
    """Bilinear, corner-aligned, clipped: f32[3, H, W] -> f32[3, size, size].

    Args:
      planes: values in [0, 1].
      top, left, side: the square window as fractions of the image's height and width.
      size: pixels of the result.
    """
    height, width = planes.shape[1:]
    upper, lower, down = _samples(top, side, height, size)
    above = planes[:, upper]
    rows = above + (planes[:, lower] - above) * down[:, None]
    before, after, right = _samples(left, side, width, size)
    near = rows.take(before, axis=2)
    return np.clip(near + (rows.take(after, axis=2) - near) * right, 0, 1)


def _samples(start: float, side: float, source: int, target: int):
    position = start * (source - 1) + np.arange(target) * (side * (source - 1) / (target - 1))
    before = np.minimum(np.floor(position).astype(np.int64), source - 1)
    after = np.minimum(before + 1, source - 1)
    return before, after, (position - before).astype(np.float32)


def centre_crop(image: np.ndarray, area: float = 0.9) -> np.ndarray:
    """uint8[H, H, 3] -> uint8[H, H, 3]: the central window of that area, enlarged again."""
    if area == 1:
        return image
    side = math.sqrt(area)
    offset = (1 - side) / 2
    return from_planes(crop_and_resize(to_planes(image), offset, offset, side, image.shape[0]))


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
