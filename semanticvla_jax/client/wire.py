"""Messages between robot and server: NumPy arrays inside msgpack.

The format is that of the published `openpi-client` package: an array is a map of `__ndarray__`,
`data`, `dtype` and `shape`, a NumPy scalar one of `__npgeneric__`, `data` and `dtype`, all keys as
bytes. The reader takes messages from anybody: it executes nothing, knows numeric types only, and
what it allocates is bounded by the message's size plus `MAX_VALUES` small objects.
"""

from __future__ import annotations

import math
from typing import Any

import msgpack
import numpy as np

MAX_VALUES = 50_000  # containers and their entries in one message; an observation has some dozens
MAX_LENGTH = 1024  # of one list: msgpack allocates what a header promises, at each nested level
MAX_DIMENSIONS = 8

_DTYPES = {
    f"{order}{kind}{size}": np.dtype(f"{order}{kind}{size}")
    for order in "<>|="
    for kind, sizes in {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8)}.items()
    for size in sizes
}


class WireError(ValueError):
    """Not a message of this format; says why."""


def encode(message: Any) -> bytes:
    """Maps, lists, strings, numbers and numeric arrays of any layout -> a message.

    Raises:
      TypeError: something else inside.
    """
    return msgpack.packb(message, default=_pack)


def decode(data: bytes) -> Any:
    """What `encode` was given; arrays are read-only views into `data`, in native byte order.

    Raises:
      WireError: not a message, or more than the limits above.
    """
    left = MAX_VALUES

    def spend(container):
        nonlocal left
        left -= 1 + len(container)
        if left < 0:
            raise WireError(f"more than {MAX_VALUES} values")
        return container

    try:
        return msgpack.unpackb(
            data,
            object_hook=lambda entries: _unpack(spend(entries)),
            list_hook=spend,
            ext_hook=_refuse_extension,
            max_array_len=MAX_LENGTH,
            max_map_len=MAX_LENGTH,
            max_ext_len=0,
        )
    except WireError:
        raise
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise WireError(f"{type(error).__name__}: {str(error)[:200]}") from None


def _pack(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.str in _DTYPES:
        return {
            b"__ndarray__": True,
            b"data": value.tobytes(),
            b"dtype": value.dtype.str,
            b"shape": value.shape,
        }
    if isinstance(value, np.generic) and value.dtype.str in _DTYPES:
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    kind = f"array of {value.dtype}" if hasattr(value, "dtype") else type(value).__name__
    raise TypeError(f"a message cannot hold {kind}; send numeric arrays, numbers and strings")


def _unpack(entries: dict) -> Any:
    if b"__ndarray__" in entries:
        return _array(entries.get(b"data"), entries.get(b"dtype"), entries.get(b"shape"))
    if b"__npgeneric__" in entries:
        return _dtype(entries.get(b"dtype")).type(entries.get(b"data"))
    return entries


def _array(data: Any, dtype: Any, shape: Any) -> np.ndarray:
    dtype = _dtype(dtype)
    sides = shape if isinstance(shape, list) else [None]
    if len(sides) > MAX_DIMENSIONS or not all(type(side) is int and side >= 0 for side in sides):
        raise WireError(f"array shape {str(shape)[:100]}")
    if not isinstance(data, bytes) or len(data) != math.prod(sides) * dtype.itemsize:
        size = f"{len(data)} bytes" if isinstance(data, bytes) else type(data).__name__
        raise WireError(f"an array {dtype}{sides} with {size} of data")
    array = np.frombuffer(data, dtype).reshape(sides)
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


def _dtype(name: Any) -> np.dtype:
    if not isinstance(name, str) or name not in _DTYPES:
        raise WireError(f"array type {str(name)[:50]!r}; booleans, integers and floats are known")
    return _DTYPES[name]


def _refuse_extension(code: int, data: bytes) -> Any:
    raise WireError(f"msgpack extension {code}")
