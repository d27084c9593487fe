"""safetensors files: headers checked by `safetensors`, values read in place."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from semanticvla_jax.errors import InputError
from semanticvla_jax.weights.lazy_array import LazyArray

DTYPES = {
    "BOOL": np.bool_,
    "U8": np.uint8,
    "I8": np.int8,
    "U16": np.uint16,
    "I16": np.int16,
    "U32": np.uint32,
    "I32": np.int32,
    "U64": np.uint64,
    "I64": np.int64,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "F32": np.float32,
    "F64": np.float64,
    "C64": np.complex64,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
}


def open_safetensors(path: Path) -> dict[str, LazyArray]:
    """Arrays of one file, in the header's order.

    Raises:
      InputError: a damaged file (header length, offsets, size), a name that occurs twice, or a
        dtype that numpy has not.
    """
    header, data = _header(path)
    unknown = sorted({entry["dtype"] for entry in header.values()} - DTYPES.keys())
    if unknown:
        _refuse(path, f"dtypes {unknown}", f"one of {', '.join(DTYPES)}", "convert the arrays")
    return {
        name: LazyArray.contiguous(
            path,
            data + entry["data_offsets"][0],
            entry["shape"],
            np.dtype(DTYPES[entry["dtype"]]).newbyteorder("<"),
        )
        for name, entry in header.items()
    }


def _header(path: Path) -> tuple[dict[str, dict], int]:
    """(entries by name, where the data begins), after `safetensors` has found them consistent."""
    try:
        with safe_open(path, "numpy", backend="pread"):
            pass
    except SafetensorError as error:
        _refuse(path, str(error), "a whole safetensors file", "download it again")
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        entries = json.loads(file.read(length), object_pairs_hook=lambda pairs: pairs)
    names = [name for name, _ in entries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        _refuse(path, f"names that occur twice: {twice[:8]}", "each name once", "write it again")
    return {name: dict(entry) for name, entry in entries if name != "__metadata__"}, 8 + length


def _refuse(path: Path, found: str, expected: str, fix: str) -> None:
    raise InputError(str(path), found=found, expected=expected, fix=fix)
