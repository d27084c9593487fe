"""Arrays computed from arrays in files when they are read: what no rule of one name can say."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Derived:
    """Stands for an array as LazyArray does; `compute` makes it anew at each reading."""

    shape: tuple[int, ...]
    dtype: np.dtype
    compute: Callable[[], np.ndarray]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def read(self, index=...) -> np.ndarray:
        """`array[index]`."""
        return self.compute()[index]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        array = self.compute()
        return array if dtype is None else array.astype(dtype, copy=False)


def part(array, index) -> Derived:
    """`array[index]` of an array in memory or in a file, reading no more than that."""
    shape = np.broadcast_to(np.zeros((), array.dtype), array.shape)[index].shape
    read = array.read if hasattr(array, "read") else array.__getitem__
    return Derived(shape, array.dtype, lambda: read(index))
