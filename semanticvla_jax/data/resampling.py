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
    height, width, length = len(rows), len(columns), lines.shape[1]
    sums = np.empty((DOWN, length), np.float32)
    for first in range(0, height, DOWN):
        for number in range(min(DOWN, height - first)):
            line, pixels, shares = sums[number], rows[first + number], row_weights[first + number]
            line[:] = 0
            for tap in range(0, len(pixels), TERMS):
                a, b = lines[pixels[tap]], lines[pixels[tap + 1]]
                c, d = lines[pixels[tap + 2]], lines[pixels[tap + 3]]
                e, f = lines[pixels[tap + 4]], lines[pixels[tap + 5]]
                g, h = lines[pixels[tap + 6]], lines[pixels[tap + 7]]
                p, q, r, s = shares[tap], shares[tap + 1], shares[tap + 2], shares[tap + 3]
                t, u, v, w = shares[tap + 4], shares[tap + 5], shares[tap + 6], shares[tap + 7]
                for x in range(length):
                    half = line[x] + p * a[x] + q * b[x] + r * c[x] + s * d[x]
                    line[x] = half + t * e[x] + u * f[x] + v * g[x] + w * h[x]
        for x in range(length):
            for number in range(DOWN):
                turned[x, first + number] = sums[number, x]
    line, rounded = np.empty(height, np.float32), np.empty((ACROSS, height), np.uint8)
    for first in range(0, 3 * width, ACROSS):
        for number in range(min(ACROSS, 3 * width - first)):
            x, colour = (first + number) // 3, (first + number) % 3
            pixels, shares = columns[x] * 3 + colour, column_weights[x]
            line[:] = 0
            for tap in range(0, len(pixels), TERMS):
                a, b = turned[pixels[tap]], turned[pixels[tap + 1]]
                c, d = turned[pixels[tap + 2]], turned[pixels[tap + 3]]
                e, f = turned[pixels[tap + 4]], turned[pixels[tap + 5]]
                g, h = turned[pixels[tap + 6]], turned[pixels[tap + 7]]
                p, q, r, s = shares[tap], shares[tap + 1], shares[tap + 2], shares[tap + 3]
                t, u, v, w = shares[tap + 4], shares[tap + 5], shares[tap + 6], shares[tap + 7]
                for y in range(height):
                    half = line[y] + p * a[y] + q * b[y] + r * c[y] + s * d[y]
                    line[y] = half + t * e[y] + u * f[y] + v * g[y] + w * h[y]
            for y in range(height):
                value = min(max(np.rint(line[y]), np.float32(0)), np.float32(255))
                rounded[number, y] = np.uint8(value)
        for y in range(height):
            for number in range(ACROSS):
                resized[y, first + number] = rounded[number, y]
