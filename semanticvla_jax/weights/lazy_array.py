"""An array in a file whose values are read when asked for."""

from __future__ import annotations

import dataclasses
import math
import operator
from pathlib import Path

import numpy as np
from numpy.lib.array_utils import byte_bounds
from numpy.lib.stride_tricks import as_strided

from semanticvla_jax.errors import InputError


@dataclasses.dataclass(frozen=True, eq=False)
class LazyArray:
    """Array that lies uncompressed in a file; `np.asarray(x)` and `x.read(index)` read it.

    Each read opens the file and copies just its own bytes, so nothing stays mapped or resident.

    Attributes:
      path: the file.
      start: position of the first element in bytes.
      shape: of the array.
      stored: dtype as stored, of either byte order.
      strides: bytes between neighbours on each axis, not negative.
    """

    path: Path
    start: int
    shape: tuple[int, ...]
    stored: np.dtype
    strides: tuple[int, ...]

    @classmethod
    def contiguous(cls, path: Path, start: int, shape, stored, order: str = "C") -> LazyArray:
        """Array without gaps, in C or Fortran ("F") order."""
        shape, stored, strides = tuple(shape), np.dtype(stored), []
        step = stored.itemsize
        for size in shape if order == "F" else shape[::-1]:
            strides.append(step)
            step *= size
        return cls(path, start, shape, stored, tuple(strides if order == "F" else strides[::-1]))

    @property
    def dtype(self) -> np.dtype:
        """dtype of what is read, in this machine's byte order."""
        return self.stored.newbyteorder("=")

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.stored.itemsize

    def read(self, index=...) -> np.ndarray:
        """`array[index]` for integers, slices, None and `...`; reads no more than the part spans.

        Raises:
          InputError: the file has become shorter than it was when it was opened.
        """
        part = self._outline()[_basic(index)]
        if part.size == 0:
            return np.empty(part.shape, self.dtype)
        low, high = byte_bounds(part)
        origin = self._outline().__array_interface__["data"][0]
        data = np.fromfile(self.path, np.uint8, count=high - low, offset=self.start + low - origin)
        if data.size < high - low:
            raise InputError(
                str(self.path),
                found=f"the file ends at byte {self.path.stat().st_size}",
                expected=f"an array up to byte {self.start + high - origin}",
                fix="do not change the file while it is read",
            )
        first = part.__array_interface__["data"][0] - low
        array = np.ndarray(part.shape, self.stored, data, first, part.strides)
        return array.astype(self.dtype, copy=False)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        if copy is False:
            raise ValueError("an array in a file cannot be had without a copy")
        array = self.read()
        return array if dtype is None else array.astype(dtype, copy=False)

    def _outline(self) -> np.ndarray:
        """Array of this shape and these strides over nothing: to be indexed, never to be read."""
        return as_strided(
            _NOTHING[: self.stored.itemsize].view(self.stored), self.shape, self.strides
        )


_NOTHING = np.zeros(64, np.uint8)


def _basic(index) -> tuple:
    """The index as a tuple whose result is a view, even where a single element is asked for."""
    index = index if isinstance(index, tuple) else (index,)
    parts = tuple(
        part if part is None or part is ... or isinstance(part, slice) else operator.index(part)
        for part in index
    )
    return parts if ... in parts else (*parts, ...)
