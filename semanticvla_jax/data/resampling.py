"""Antialiased Lanczos-3 resizing, separable: rows first, then columns (`tf.image.resize`'s)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from semanticvla_jax.data.compiled import compiled

TERMS = 4  # that one pass over a line adds


@lru_cache(maxsize=64)
def lanczos3(source: int, target: int) -> tuple[np.ndarray, np.ndarray]:
    """Each of `target` pixels as a weighted sum of T of `source` pixels; T is a multiple of TERMS.

    Returns:
      (which pixels i64[target, T], their weights f32[target, T], which sum to 1).
    """
    scale = source / target
    width = max(scale, 1.0)
    centre = (np.arange(target) + 0.5) * scale - 0.5
    offset = (centre[:, None] - np.arange(source)) / width
    weights = np.where(np.abs(offset) < 3, np.sinc(offset) * np.sinc(offset / 3), 0.0)
    weights = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    taps = -(-np.count_nonzero(weights, axis=1).max() // TERMS) * TERMS
    pixels = np.argmax(weights != 0, axis=1)[:, None] + np.arange(taps)
    inside = np.minimum(pixels, source - 1)
    return inside, np.where(pixels < source, np.take_along_axis(weights, inside, axis=1), 0)


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """uint8[H, W, 3] -> uint8[size, size, 3], rounded and clipped."""
    height, width, _ = image.shape
    rows = _weighted_sums(image.reshape(height, -1), *lanczos3(height, size))
    columns = _transpose(rows).reshape(width, -1)
    return _to_image(_weighted_sums(columns, *lanczos3(width, size)).reshape(size, 3, size))


@compiled
def _weighted_sums(lines, chosen, weights):
    """[N, L], i64[M, T], f32[M, T] -> f32[M, L]: sums of the chosen lines."""
    sums = np.empty((len(chosen), lines.shape[1]), np.float32)
    for number in range(len(chosen)):
        line, pixels, shares = sums[number], chosen[number], weights[number]
        line[:] = 0
        for tap in range(0, len(pixels), TERMS):
            a, b = lines[pixels[tap]], lines[pixels[tap + 1]]
            c, d = lines[pixels[tap + 2]], lines[pixels[tap + 3]]
            p, q, r, s = shares[tap], shares[tap + 1], shares[tap + 2], shares[tap + 3]
            for x in range(len(line)):
                line[x] = line[x] + p * a[x] + q * b[x] + r * c[x] + s * d[x]
    return sums


@compiled
def _transpose(lines):
    """f32[N, L] -> f32[L, N]; eight lines at a time, which stay in the cache."""
    count, length = lines.shape
    out = np.empty((length, count), np.float32)
    for first in range(0, count - 7, 8):
        for x in range(length):
            for number in range(8):
                out[x, first + number] = lines[first + number, x]
    for number in range(count - count % 8, count):
        for x in range(length):
            out[x, number] = lines[number, x]
    return out


@compiled
def _to_image(columns):
    """f32[W, 3, H] -> uint8[H, W, 3]."""
    width, _, height = columns.shape
    image, column = np.empty((height, width, 3), np.uint8), np.empty((3, height), np.uint8)
    for x in range(width):
        for colour in range(3):
            for y in range(height):
                value = np.rint(columns[x, colour, y])
                column[colour, y] = np.uint8(min(max(value, np.float32(0)), np.float32(255)))
        for y in range(height):
            for colour in range(3):
                image[y, x, colour] = column[colour, y]
    return image
