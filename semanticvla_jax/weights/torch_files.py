"""torch checkpoints (`.pt`, `.pth`, `.bin`) without torch, and without executing their pickle.

`torch.save` writes a zip archive: the object tree as a pickle, and each storage's bytes as a member
of its own, which is where tensors are read from.
"""

from __future__ import annotations

import math
from pathlib import Path

import ml_dtypes
import numpy as np

from semanticvla_jax.errors import InputError
from semanticvla_jax.weights import torch_pickle
from semanticvla_jax.weights.lazy_array import LazyArray
from semanticvla_jax.weights.torch_pickle import Tensor
from semanticvla_jax.weights.zip_members import Member, stored_members

DTYPES = {
    "double": np.float64,
    "float": np.float32,
    "half": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "long": np.int64,
    "int": np.int32,
    "short": np.int16,
    "char": np.int8,
    "byte": np.uint8,
    "bool": np.bool_,
    "complexfloat": np.complex64,
    "complexdouble": np.complex128,
    "uint16": np.uint16,
    "uint32": np.uint32,
    "uint64": np.uint64,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e5m2": ml_dtypes.float8_e5m2,
}
# What a state dict is often wrapped in, beside counters and the optimizer's state.
WRAPPERS = ("model", "state_dict", "model_state_dict", "module")
DEEPEST = 32


def open_torch(path: Path) -> dict[str, LazyArray]:
    """Tensors of one file; nested names are joined by dots, without an outermost wrapper's name.

    What is not a tensor (step counters, settings) is left out.

    Raises:
      InputError: a format before torch 1.6 (bare pickle or tar), a pickle that asks for anything
        but plain tensors, a damaged archive, or tensors that reach beyond their storage.
    """
    _check_is_zip(path)
    members = stored_members(path)
    pickles = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        raise _refusal(path, f"members {list(members)[:4]}", "one data.pkl, as torch.save writes")
    folder = pickles[0].removesuffix("data.pkl")
    tree = _read(path, members[pickles[0]])
    order = "<"
    if f"{folder}byteorder" in members:
        order = {b"big": ">"}.get(_read(path, members[f"{folder}byteorder"]), "<")
    arrays = {}
    for name, tensor in _named_tensors(path, torch_pickle.load(path, tree), budget=len(tree)):
        if name in arrays:
            raise _refusal(path, f"{name} twice", "each name once")
        member = members.get(f"{folder}data/{tensor.key}")
        arrays[name] = _array(path, name, tensor, member, order)
    return arrays


def _check_is_zip(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(512)
    if start.startswith(b"PK"):
        return
    if start[257:262] == b"ustar":
        found = "a tar archive (torch before 0.4)"
    elif start.startswith(b"\x80"):
        found = "a bare pickle (torch before 1.6, or not from torch)"
    else:
        found = f"a file that begins with {start[:8]!r}"
    fix = "load and save it once more with a torch you trust the file to, or convert to safetensors"
    raise InputError(str(path), found=found, expected="a zip archive of torch.save", fix=fix)


def _read(path: Path, member: Member) -> bytes:
    with path.open("rb") as file:
        file.seek(member.start)
        return file.read(member.size)


def _named_tensors(path: Path, tree, budget: int) -> list[tuple[str, Tensor]]:
    """All tensors of nested dicts and lists.

    `budget` bounds the walk: a pickle can name one part often, and so grow without bound.
    """
    found, steps = [], 0

    def walk(value, names: tuple[str, ...]) -> None:
        nonlocal steps
        steps += 1
        if steps > budget or len(names) > DEEPEST:
            raise _refusal(
                path, "a tree that repeats or contains itself", "nested dicts of tensors"
            )
        if isinstance(value, Tensor):
            wrapped = len(names) > 1 and names[0] in WRAPPERS
            found.append((".".join(names[1:] if wrapped else names), value))
        elif isinstance(value, dict):
            for name, child in value.items():
                walk(child, (*names, str(name)))
        elif isinstance(value, list | tuple):
            for i, child in enumerate(value):
                walk(child, (*names, str(i)))

    walk(tree, ())
    if not found or not isinstance(tree, dict):
        raise _refusal(path, f"{len(found)} tensors in a {type(tree).__name__}", "a state dict")
    return found


def _array(path: Path, name: str, tensor: Tensor, member: Member | None, order: str) -> LazyArray:
    """The tensor's place in the file, after a check that it lies within its storage."""
    if tensor.dtype not in DTYPES:
        raise _refusal(path, f"{name} of dtype {tensor.dtype}", f"one of {', '.join(DTYPES)}")
    if member is None:
        raise _refusal(path, f"{name} without its storage {tensor.key}", "every storage")
    stored = np.dtype(DTYPES[tensor.dtype]).newbyteorder(order)
    shape, strides = tensor.shape, tensor.strides
    numbers = (tensor.offset, *shape, *strides)
    if len(shape) != len(strides) or not all(type(n) is int and n >= 0 for n in numbers):
        raise _refusal(path, f"{name}: shape {shape}, strides {strides}", "whole numbers from 0")
    size, capacity = math.prod(shape), member.size // stored.itemsize
    last = tensor.offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if size and (last >= capacity or size > capacity):
        found = f"{name}: {size} elements up to element {last} of a storage of {capacity}"
        raise _refusal(path, found, "a tensor within its storage that repeats no part of it")
    start = member.start + tensor.offset * stored.itemsize
    return LazyArray(path, start, shape, stored, tuple(step * stored.itemsize for step in strides))


def _refusal(path: Path, found: str, expected: str) -> InputError:
    fix = "save a plain state dict (torch.save(model.state_dict(), path)), or use safetensors"
    return InputError(str(path), found=found, expected=expected, fix=fix)
