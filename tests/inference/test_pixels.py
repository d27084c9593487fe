"""Resizing and cropping in the compiled program against the host's, which training uses."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from semanticvla_jax.data.augmentation import Augmentation
from semanticvla_jax.data.transforms import Blank, Sighted
from semanticvla_jax.inference.lines import Lines
from semanticvla_jax.inference.pixels import DevicePixels, HostPixels, suitable

CAMERAS = 2


def scene(size: int, seed: int = 0, width: int | None = None) -> np.ndarray:
    """Edges, gradients and noise at full contrast, where filters overshoot."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, : width or size]
    image = np.where((x // 7 + y // 5) % 2, 255, 0)[..., None] * np.ones(3)
    image[: size // 2] = rng.integers(0, 256, (size // 2, width or size, 3))
    image[:, : size // 4] = (x * 255 / size)[:, : size // 4, None]
    return image.astype(np.uint8)


def on_device(pixels: DevicePixels, rows: list) -> np.ndarray:
    lines = Lines(pixels.fields)
    return np.asarray(jax.jit(lambda x: pixels.images(lines.unpack(x)))(lines.pack(rows)))


@pytest.mark.parametrize("camera, size, area", [(64, 48, 0.9), (48, 48, 0.9), (32, 48, 1.0)])
def test_the_device_equals_the_host_to_one_grey_level(camera, size, area):
    transform = Sighted(size, Augmentation(crop_area=area))
    frames = [[scene(camera, seed) for seed in pair] for pair in ((0, 1), (2, 3))]
    pixels, host = DevicePixels(transform, CAMERAS, camera), HostPixels(transform, CAMERAS)
    found = on_device(pixels, [pixels.receive(pair) for pair in frames])
    expected = np.stack([host.receive(pair)["images"] for pair in frames])
    assert found.shape == expected.shape and found.dtype == np.uint8
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1 and difference.mean() < 0.2


def test_ready_images_and_other_sizes_pass_beside_raw_ones():
    transform = Sighted(24, Augmentation())
    pixels, host = DevicePixels(transform, CAMERAS, 32), HostPixels(transform, CAMERAS)
    frames = [scene(32), scene(40)]
    raw, prepared = pixels.receive(frames), pixels.admit(host.receive(frames))
    np.testing.assert_array_equal(raw["ready"], [False, True])
    mixed, ready = on_device(pixels, [raw, prepared])
    expected = host.receive(frames)["images"]
    np.testing.assert_array_equal(ready, expected)
    np.testing.assert_array_equal(mixed[1], expected[1])
    assert np.abs(mixed[0].astype(int) - expected[0]).max() <= 1


def test_a_cpu_prepares_on_the_host_and_blank_cameras_always_do():
    assert isinstance(suitable(Sighted(24, Augmentation()), 2, 32), HostPixels)
    assert isinstance(suitable(Blank(24), 2, 32), HostPixels)
