"""Antialiased Lanczos-3 resizing, separable: rows first, then columns (`tf.image.resize`'s)."""

from __future__ import annotations

import threading
from functools import lru_cache

import numpy as np

from semanticvla_jax.data.compiled import compiled

TERMS = 8  # that one pass over a line adds
DOWN, ACROSS = 8, 16  # lines that are turned at once


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
    turned = _scratch.lines(3 * width, _whole(size, DOWN))
    resized = np.empty((size, _whole(3 * size, ACROSS)), np.uint8)
    lines = image.reshape(height, -1)
    _resize(lines, turned, resized, *lanczos3(height, size), *lanczos3(width, size))
    return np.ascontiguousarray(resized[:, : 3 * size]).reshape(size, size, 3)


def _whole(count: int, block: int) -> int:
    """The next multiple of `block`."""
    return -(-count // block) * block


class _Scratch(threading.local):
    """Memory of a thread that stays in its cache from image to image."""

    def __init__(self):
        self._numbers = np.empty(0, np.float32)

    def lines(self, count: int, length: int) -> np.ndarray:
        """f32[count, length], whose values mean nothing."""
        if self._numbers.size < count * length:
            self._numbers = np.empty(count * length, np.float32)
        return self._numbers[: count * length].reshape(count, length)


_scratch = _Scratch()


@compiled
def _resize(lines, turned, resized, rows, row_weights, columns, column_weights):
    """uint8[H, 3 W] -> uint8[M, 3 N], by way of its columns f32[3 W, M]; both may have room behind.

    Sums then run along whole lines both times, and several lines at a time, which stay in the
    cache, are turned. One function, because threads wait for the interpreter between two.
    """

    def total(line, lines, chosen, weights):
        """The chosen lines times their weights, TERMS at a time, into `line`."""
        line[:] = 0
        for tap in range(0, len(chosen), TERMS):
            a, b = lines[chosen[tap]], lines[chosen[tap + 1]]
            c, d = lines[chosen[tap + 2]], lines[chosen[tap + 3]]
            e, f = lines[chosen[tap + 4]], lines[chosen[tap + 5]]
            g, h = lines[chosen[tap + 6]], lines[chosen[tap + 7]]
            p, q, r, s = weights[tap], weights[tap + 1], weights[tap + 2], weights[tap + 3]
            t, u, v, w = weights[tap + 4], weights[tap + 5], weights[tap + 6], weights[tap + 7]
            for x in range(len(line)):
                half = line[x] + p * a[x] + q * b[x] + r * c[x] + s * d[x]
                line[x] = half + t * e[x] + u * f[x] + v * g[x] + w * h[x]

    height, width, length = len(rows), len(columns), lines.shape[1]
    sums = np.empty((DOWN, length), np.float32)
    for first in range(0, height, DOWN):
        for number in range(min(DOWN, height - first)):
            row = first + number
            total(sums[number], lines, rows[row], row_weights[row])
        for x in range(length):
            for number in range(DOWN):
                turned[x, first + number] = sums[number, x]
    line, rounded = np.empty(height, np.float32), np.empty((ACROSS, height), np.uint8)
    for first in range(0, 3 * width, ACROSS):
        for number in range(min(ACROSS, 3 * width - first)):
            x, colour = (first + number) // 3, (first + number) % 3
            total(line, turned, columns[x] * 3 + colour, column_weights[x])
            for y in range(height):
                value = min(max(np.rint(line[y]), np.float32(0)), np.float32(255))
                rounded[number, y] = np.uint8(value)
        for y in range(height):
            for number in range(ACROSS):
                resized[y, first + number] = rounded[number, y]
