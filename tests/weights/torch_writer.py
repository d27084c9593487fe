"""Writes torch checkpoints without torch, opcode by opcode: well-formed, odd and hostile ones."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

STORAGES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "bool": "BoolStorage",
}


class Raw(bytes):
    """Opcodes that go into the pickle as they are."""


class Tensor(NamedTuple):
    """A tensor over a storage (the archive's key); offset and strides in elements."""

    storage: str
    key: str
    numel: int
    offset: int
    shape: tuple
    strides: tuple


def name(module: str, attribute: str) -> Raw:
    """GLOBAL."""
    return Raw(f"c{module}\n{attribute}\n".encode())


def call(function: Raw, *arguments: Any) -> Raw:
    """REDUCE."""
    return Raw(function + opcodes(arguments) + b"R")


def opcodes(value: Any) -> bytes:
    """The value in pickle protocol 2, as torch writes it."""
    match value:
        case Raw():
            return value
        case Tensor(storage, key, numel, offset, shape, strides):
            stored = opcodes(("storage", name("torch", storage), key, "cpu", numel)) + b"Q"
            hooks = call(name("collections", "OrderedDict"))
            rebuild = name("torch._utils", "_rebuild_tensor_v2")
            return call(rebuild, Raw(stored), offset, shape, strides, False, hooks)
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case tuple():
            return b"(" + b"".join(map(opcodes, value)) + b"t"
        case list():
            return b"](" + b"".join(map(opcodes, value)) + b"e"
        case dict():
            items = b"".join(opcodes(k) + opcodes(v) for k, v in value.items())
            return b"}(" + items + b"u"


def write(
    path: Path,
    tree: Any,
    storages: dict[str, np.ndarray | bytes],
    *,
    byteorder: str = "little",
    compression: int = zipfile.ZIP_STORED,
) -> Path:
    """An archive of torch.save: `tree` with its storages' contents by key."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + opcodes(tree) + b".")
        archive.writestr("archive/byteorder", byteorder)
        for key, content in storages.items():
            raw = content if isinstance(content, bytes) else content.tobytes()
            archive.writestr(f"archive/data/{key}", raw)
        archive.writestr("archive/version", "3\n")
    return path


def write_arrays(path: Path, arrays: dict[str, np.ndarray], wrap=lambda tensors: tensors) -> Path:
    """A state dict; `wrap` puts the tensors where a trainer would."""
    tensors, storages = {}, {}
    for i, (key, array) in enumerate(arrays.items()):
        array = np.asarray(array, order="C")
        strides = tuple(stride // array.itemsize for stride in array.strides)
        storage = STORAGES[array.dtype.name]
        tensors[key] = Tensor(storage, str(i), array.size, 0, array.shape, strides)
        storages[str(i)] = array
    return write(path, wrap(tensors), storages)
