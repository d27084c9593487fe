"""What happens to an array on its way in, and back out: pairs of functions that undo each other."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import jax
import numpy as np
import scipy.ndimage


@dataclasses.dataclass(frozen=True)
class Layout:
    """A foreign array <-> ours.

    Attributes:
      forward: foreign -> ours.
      backward: ours -> foreign, exactly; None where the way in loses information.
    """

    forward: Callable[[np.ndarray], np.ndarray]
    backward: Callable[[np.ndarray], np.ndarray] | None = None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.forward(x)


def _patch_kernel(x: np.ndarray) -> np.ndarray:
    return x.transpose(2, 3, 1, 0).reshape(-1, x.shape[0])


def _convolution(kernel: np.ndarray) -> np.ndarray:
    side = math.isqrt(kernel.shape[0] // 3)
    return kernel.reshape(side, side, 3, -1).transpose(3, 2, 0, 1)


def _without_first(x: np.ndarray) -> np.ndarray:
    return x.reshape(x.shape[1:])


def _with_first(x: np.ndarray) -> np.ndarray:
    return x[None]


same = Layout(lambda x: x, lambda x: x)

# torch Linear [out, in] <-> kernel [in, out].
transposed = Layout(lambda x: x.T, lambda x: x.T)

# torch Conv2d [out, channel, row, column] <-> kernel [(row column channel), out], three channels.
patch_kernel = Layout(_patch_kernel, _convolution)

# Drops a leading axis of one, or puts one in front.
first = Layout(_without_first, _with_first)
leading = Layout(_with_first, _without_first)

# [..., head, head width] -> [..., (head head width)] and [head, head width, out] -> [(..), out];
# the number of heads is lost.
joined_heads = Layout(lambda x: x.reshape(*x.shape[:-2], -1))
leading_heads = Layout(lambda x: x.reshape(-1, x.shape[-1]))

# flax Conv [row, column, channel, out] -> kernel [(row column channel), out].
flat_convolution = Layout(lambda x: x.reshape(-1, x.shape[-1]))


def then(one: Layout, other: Layout) -> Layout:
    """`one` on the way in, then `other`."""
    invertible = one.backward and other.backward
    backward = (lambda x: one.backward(other.backward(x))) if invertible else None
    return Layout(lambda x: other(one(x)), backward)


def padded_rows(rows: int) -> Layout:
    """[n, d] -> [rows, d] for vocabularies that grow: an added row is the mean of the given ones.

    Its logit is then the mean logit, which never exceeds the largest, so greedy decoding never
    emits an added token. More than `rows` rows stay as they are, to fail on their shape.
    """

    def pad(x: np.ndarray) -> np.ndarray:
        added = max(rows - x.shape[0], 0)
        mean = x.mean(0, dtype=np.float32, keepdims=True).astype(x.dtype)
        return np.concatenate([x, mean.repeat(added, 0)])

    return Layout(pad)


def bilinear(grid: np.ndarray, side: int) -> np.ndarray:
    """f32[n, n, W] -> f32[side, side, W], corners kept in place: what big_vision does."""
    factor = side / grid.shape[0]
    return scipy.ndimage.zoom(grid, (factor, factor, 1), order=1)


def bicubic(grid: np.ndarray, side: int) -> np.ndarray:
    """f32[n, n, W] -> f32[side, side, W], cell centres kept in place, antialiased: timm's way."""
    shape = (side, side, grid.shape[-1])
    return np.asarray(jax.image.resize(grid, shape, "cubic", antialias=True))


def resampled(side: int, interpolate: Callable[[np.ndarray, int], np.ndarray]) -> Layout:
    """Position table [1, n * n, W] -> [1, side * side, W]; untouched where n = side.

    Args:
      side: of the grid of patches.
      interpolate: `bilinear` or `bicubic`; computes in f32.
    """

    def resample(x: np.ndarray) -> np.ndarray:
        old = math.isqrt(x.shape[-2])
        if old == side or old * old != x.shape[-2]:
            return x
        grid = np.asarray(x, np.float32).reshape(old, old, -1)
        return interpolate(grid, side).reshape(1, side * side, -1)

    return Layout(resample)
