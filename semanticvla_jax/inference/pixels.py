"""Where camera images become the model's: on the host, or inside the compiled program.

Demonstrations are stored as JPEG, so a camera image goes through JPEG first, always on the host.
What follows (Lanczos-3 to the model's size, central crop) is `data.images.evaluation_image`'s.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from semanticvla_jax.data import images
from semanticvla_jax.data.resampling import lanczos3
from semanticvla_jax.data.transforms import ImageTransform, Sighted

Row = dict[str, np.ndarray]
Fields = dict[str, tuple[tuple[int, ...], type]]


class Pixels(Protocol):
    """How camera images get to the model.

    Attributes:
      fields: what a row carries of its images: see lines.Lines.
    """

    fields: Fields

    def receive(self, frames: Sequence[np.ndarray]) -> Row:
        """Camera images uint8[H, W, 3] of one observation -> the fields; any thread."""

    def admit(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """A row that `receive` or `Interface.prepare` made -> with exactly the fields."""

    def images(self, given: Mapping[str, jax.Array]) -> jax.Array:
        """Fields of a batch -> uint8[B, I, size, size, 3]; traced."""


class HostPixels:
    """Everything on the host, one thread per camera."""

    def __init__(self, transform: ImageTransform, cameras: int):
        self._transform, self._threads = transform, ThreadPoolExecutor(cameras)
        self.fields: Fields = {"images": ((cameras, transform.size, transform.size, 3), np.uint8)}

    def receive(self, frames: Sequence[np.ndarray]) -> Row:
        return {"images": np.stack(list(self._threads.map(self._transform.rollout, frames)))}

    def admit(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return row

    def images(self, given: Mapping[str, jax.Array]) -> jax.Array:
        return given["images"]


class DevicePixels:
    """Resizing and cropping in the compiled program, each two matrix products per image.

    Equals the host's result to one grey level. Images of other sizes than `camera_size`, and rows
    prepared on the host, travel ready, marked as such. One thread per camera does what is left.
    """

    def __init__(self, transform: Sighted, cameras: int, camera_size: int):
        self._transform, self._camera_size = transform, camera_size
        self._side = max(camera_size, transform.size)
        self._threads = ThreadPoolExecutor(cameras)
        self.fields: Fields = {
            "images": ((cameras, self._side, self._side, 3), np.uint8),
            "ready": ((cameras,), np.bool_),
        }

    def receive(self, frames: Sequence[np.ndarray]) -> Row:
        ready = [frame.shape[:2] != (self._camera_size,) * 2 for frame in frames]
        ways = [self._transform.rollout if done else as_stored for done in ready]
        seen = self._threads.map(lambda way, frame: way(frame), ways, frames)
        return {"images": self._canvas(list(seen)), "ready": np.array(ready)}

    def admit(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        if "ready" in row:
            return row
        ready = np.ones(len(row["images"]), bool)
        return {**row, "images": self._canvas(row["images"]), "ready": ready}

    def images(self, given: Mapping[str, jax.Array]) -> jax.Array:
        size, area = self._transform.size, self._transform.augmentation.crop_area
        camera = given["images"][:, :, : self._camera_size, : self._camera_size]
        ready = given["images"][:, :, :size, :size]
        cropped = centre_crop(resize(camera, size), area)
        return jnp.where(given["ready"][..., None, None, None], ready, cropped)

    def _canvas(self, seen: Sequence[np.ndarray]) -> np.ndarray:
        canvas = np.zeros((len(seen), self._side, self._side, 3), np.uint8)
        for place, image in zip(canvas, seen, strict=True):
            place[: image.shape[0], : image.shape[1]] = image
        return canvas


def suitable(transform: ImageTransform, cameras: int, camera_size: int) -> Pixels:
    """What is fastest: a CPU resizes faster outside of XLA, and blank images need no pixels."""
    if isinstance(transform, Sighted) and jax.default_backend() != "cpu":
        return DevicePixels(transform, cameras, camera_size)
    return HostPixels(transform, cameras)


def as_stored(frame: np.ndarray) -> np.ndarray:
    """uint8[H, W, 3] as a dataset would give it back."""
    return images.decode_jpeg(images.encode_jpeg(frame))


def resize(frames: jax.Array, size: int) -> jax.Array:
    """uint8[..., S, S, 3] -> f32[..., size, size, 3] whole grey levels, as `images.resize`."""
    source = frames.shape[-2]
    if source == size:
        return frames.astype(jnp.float32)
    resized = _separable(_lanczos_matrix(source, size), frames.astype(jnp.float32))
    return jnp.clip(jnp.round(resized), 0, 255)


def centre_crop(frames: jax.Array, area: float) -> jax.Array:
    """f32[..., S, S, 3] grey levels -> uint8[..., S, S, 3], as `images.centre_crop`."""
    if area == 1:
        return frames.astype(jnp.uint8)
    size = frames.shape[-2]
    cropped = jnp.clip(_separable(_crop_matrix(size, math.sqrt(area)), frames / 255), 0, 1)
    return jnp.clip(cropped * 255.5, 0, 255).astype(jnp.uint8)


def _separable(matrix: np.ndarray, frames: jax.Array) -> jax.Array:
    """matrix[t, s] along both sides of frames[..., s, s, 3], in full float32."""
    product = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    return product("ux,...txc->...tuc", matrix, product("ty,...yxc->...txc", matrix, frames))


@functools.lru_cache
def _lanczos_matrix(source: int, target: int) -> np.ndarray:
    """f32[target, source]."""
    pixels, weights = lanczos3(source, target)
    matrix = np.zeros((target, source), np.float32)
    np.add.at(matrix, (np.arange(target)[:, None], pixels), weights)
    return matrix


@functools.lru_cache
def _crop_matrix(size: int, side: float) -> np.ndarray:
    """f32[size, size]: the central `side` of a line, enlarged again, corner-aligned bilinear."""
    place = (1 - side) / 2 * (size - 1) + np.arange(size) * side
    before = np.minimum(np.floor(place).astype(int), size - 1)
    share = (place - before).astype(np.float32)
    matrix, rows = np.zeros((size, size), np.float32), np.arange(size)
    np.add.at(matrix, (rows, before), 1 - share)
    np.add.at(matrix, (rows, np.minimum(before + 1, size - 1)), share)
    return matrix
