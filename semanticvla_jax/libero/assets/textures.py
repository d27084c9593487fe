"""Pictures of materials, the same on every machine, that repeat without a seam."""

from __future__ import annotations

import numpy as np
from PIL import Image

SIZE = 128


def _picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8))


def _waves(rng: np.random.Generator, position: np.ndarray, frequencies) -> np.ndarray:
    """A sum of sines over `position` in turns, about in [-1, 1]."""
    total = sum(np.sin(2 * np.pi * (k * position + rng.random())) / np.sqrt(k) for k in frequencies)
    return total / sum(1 / np.sqrt(k) for k in frequencies) * 1.6


def _coordinates(size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """(v, u) f64[size, size] each, in turns."""
    return np.meshgrid(np.arange(size) / size, np.arange(size) / size, indexing="ij")


def _mix(low, high, weight: np.ndarray) -> np.ndarray:
    weight = np.clip(weight, 0, 1)[..., None]
    return np.asarray(low, float) * (1 - weight) + np.asarray(high, float) * weight


def wood(dark, light, seed: int, *, planks: int = 0) -> Image.Image:
    """Grain along u; with `planks`, so many boards side by side, each a little different."""
    rng = np.random.default_rng(seed)
    v, u = _coordinates()
    board = np.floor(v * planks).astype(int) if planks else np.zeros_like(v, int)
    shift = rng.random(max(planks, 1))[board]
    bend = v + shift + 0.012 * _waves(rng, u, (1, 2, 3))
    grain = 0.55 + 0.3 * _waves(rng, bend, (3, 7, 13)) + 0.15 * _waves(rng, bend, (29, 41))
    pixels = _mix(dark, light, grain + 0.5 * (shift - 0.5 if planks else 0))
    if planks:
        seam = (v * planks) % 1 < 1.5 * planks / SIZE
        butt = (u + shift) % 1 < 1.5 / SIZE
        pixels[seam | butt] *= 0.62
    return _picture(pixels)


def plaster(colour, seed: int, roughness: float = 5.0, size: int = 64) -> Image.Image:
    """A wall: one colour with soft stains."""
    rng = np.random.default_rng(seed)
    v, u = _coordinates(size)
    stains = sum(
        np.sin(2 * np.pi * (a * u + b * v + rng.random())) / (a + abs(b))
        for a, b in ((1, 1), (1, -2), (2, 1), (3, -1), (2, 5), (5, -3), (7, 4))
    )
    return _picture(np.asarray(colour, float) + roughness * stains[..., None])


def linen(colour, seed: int, size: int = 64) -> Image.Image:
    """Woven cloth: threads both ways."""
    rng = np.random.default_rng(seed)
    v, u = _coordinates(size)
    threads = _waves(rng, u, (16, 9)) + _waves(rng, v, (16, 11))
    return _picture(np.asarray(colour, float) + 5 * threads[..., None])


def tiles(colour, joint, seed: int, *, count: int = 4, contrast: float = 9.0) -> Image.Image:
    """Square floor tiles, `count` to a side, each a little lighter or darker."""
    rng = np.random.default_rng(seed)
    v, u = _coordinates()
    shade = rng.uniform(-1, 1, (count, count))
    pixels = np.asarray(colour, float) + contrast * (
        shade[(v * count).astype(int), (u * count).astype(int)]
        + 0.4 * _waves(rng, u + 2 * v, (1, 3)) + 0.3 * _waves(rng, 3 * u - v, (1, 2))
    )[..., None]  # fmt: skip
    width = 1.5 * count / SIZE
    pixels[((v * count) % 1 < width) | ((u * count) % 1 < width)] = joint
    return _picture(pixels)


def wicker(dark, light, *, strands: int = 8, size: int = 64) -> Image.Image:
    """A basket weave: strands that pass over and under each other."""
    v, u = _coordinates(size)
    over = (np.floor(u * strands) + np.floor(v * strands)) % 2 == 0
    across = np.abs(np.sin(np.pi * strands * v))
    along = np.abs(np.sin(np.pi * strands * u))
    return _picture(_mix(dark, light, np.where(over, across, along) ** 0.7))


def metal(colour, seed: int, size: int = 64) -> Image.Image:
    """Brushed metal, brushed along u."""
    rng = np.random.default_rng(seed)
    lines = rng.normal(0, 6, (size, 1, 1)) + np.zeros((1, size, 1))
    return _picture(np.asarray(colour, float) + lines)
