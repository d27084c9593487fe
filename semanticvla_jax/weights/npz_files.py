"""numpy archives (`.npz`), as big_vision writes its checkpoints: keys joined by `/`."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
from numpy.lib import format as npy

from semanticvla_jax.errors import InputError
from semanticvla_jax.weights.lazy_array import LazyArray
from semanticvla_jax.weights.zip_members import Member, stored_members

HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def open_npz(path: Path) -> dict[str, LazyArray]:
    """Arrays of one archive; two-byte voids are bfloat16, which numpy's format has no name for.

    Raises:
      InputError: a damaged or compressed archive, a member that is not an array of numbers (object
        arrays are pickles and stay closed), or one whose header disagrees with its size.
    """
    return {
        name.removesuffix(".npy"): _array(path, name, member)
        for name, member in stored_members(path).items()
    }


def _array(path: Path, name: str, member: Member) -> LazyArray:
    try:
        if not name.endswith(".npy"):
            raise ValueError("another extension than .npy")
        with path.open("rb") as file:
            file.seek(member.start)
            shape, fortran, dtype = HEADERS[npy.read_magic(file)](file)
            start = file.tell()
    except (ValueError, KeyError, EOFError) as error:
        raise _refusal(path, f"{name}: {error}", "members in numpy's .npy format") from error
    if dtype == np.dtype("V2"):
        dtype = np.dtype(ml_dtypes.bfloat16)
    if dtype.kind not in "biufc" and dtype != ml_dtypes.bfloat16:
        raise _refusal(path, f"{name} of dtype {dtype}", "numbers, or V2 for bfloat16")
    array = LazyArray.contiguous(path, start, shape, dtype, order="F" if fortran else "C")
    if min(shape, default=0) < 0 or start + array.nbytes != sum(member):
        found = f"{name}: {shape} {dtype} in {sum(member) - start} bytes"
        raise _refusal(path, found, f"{array.nbytes} bytes")
    return array


def _refusal(path: Path, found: str, expected: str) -> InputError:
    return InputError(str(path), found=found, expected=expected, fix="write it again with np.savez")
