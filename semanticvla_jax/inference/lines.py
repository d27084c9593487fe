"""A batch as one array of bytes, so that a query takes one transfer to the device."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np


class Lines:
    """Arrays of fixed shapes, side by side in a line of bytes for each row of a batch."""

    def __init__(self, fields: Mapping[str, tuple[tuple[int, ...], type]]):
        """`fields`: name -> (shape without the batch axis, NumPy type; bool takes one byte)."""
        self._fields = {}
        stop = 0
        for name, (shape, dtype) in fields.items():
            start, stop = stop, stop + math.prod(shape) * np.dtype(dtype).itemsize
            self._fields[name] = tuple(shape), np.dtype(dtype), slice(start, stop)
        self.bytes = stop

    def pack(self, rows: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        """B rows, which may hold more than the fields -> uint8[B, bytes].

        Raises:
          ValueError: an array of another shape.
        """
        lines = np.empty((len(rows), self.bytes), np.uint8)
        for line, row in zip(lines, rows, strict=True):
            for name, (shape, dtype, place) in self._fields.items():
                array = np.asarray(row[name], dtype, order="C")
                if array.shape != shape:
                    raise ValueError(f"{name} of shape {array.shape}, expected {shape}")
                line[place] = array.reshape(-1).view(np.uint8)
        return lines

    def unpack(self, lines: jax.Array) -> dict[str, jax.Array]:
        """uint8[B, bytes] -> the fields with a leading [B]; in a traced function."""
        found = {}
        for name, (shape, dtype, place) in self._fields.items():
            flat = lines[:, place]
            if dtype == np.bool_:
                flat = flat.astype(bool)
            elif dtype != np.uint8:
                flat = flat.reshape(len(lines), -1, dtype.itemsize)
                flat = jax.lax.bitcast_convert_type(flat, jnp.dtype(dtype))
            found[name] = flat.reshape(len(lines), *shape)
        return found
