"""The pickle inside a torch checkpoint, read as data: it can name tensors and nothing else.

Two locks. Only the opcodes of plain trees pass, and the only names that resolve are those of tensor
rebuilding, to functions of this file that return immutable descriptions.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from semanticvla_jax.errors import InputError

# No INST, OBJ, NEWOBJ (they make instances), EXT (names by number), nor what torch never writes.
OPCODES = frozenset(
    """
    PROTO FRAME STOP MARK GLOBAL STACK_GLOBAL REDUCE BUILD BINPERSID MEMOIZE BINPUT LONG_BINPUT
    BINGET LONG_BINGET NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE
    SHORT_BINUNICODE EMPTY_DICT SETITEM SETITEMS EMPTY_LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1
    TUPLE2 TUPLE3
    """.split()
)


class Storage(NamedTuple):
    """A member of the archive; its dtype is None where each tensor brings its own."""

    dtype: str | None
    key: str


class Tensor(NamedTuple):
    """Part of a storage; offset and strides count elements."""

    dtype: str
    key: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class StateDict(dict):
    """An OrderedDict of the file, without the attributes that torch hangs on it."""

    __slots__ = ()

    def __setstate__(self, state) -> None:
        """Format versions of modules; not needed."""


def load(path: Path, data: bytes) -> object:
    """Tree of dicts, lists, tuples, numbers, strings and `Tensor`s; nothing is executed.

    Raises:
      InputError: the pickle asks for anything else, which the message names, or is damaged.
    """
    try:
        _check_opcodes(path, data)
        return _Unpickler(path, data).load()
    except InputError:
        raise
    except Exception as error:  # A damaged pickle can fail in any way.
        raise _refusal(path, f"a damaged pickle ({type(error).__name__}: {error})") from error


def _check_opcodes(path: Path, data: bytes) -> None:
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == "GLOBAL":
            _known(path, argument.replace(" ", "."))
        if opcode.name not in OPCODES:
            raise _refusal(path, f"pickle opcode {opcode.name} {argument or ''}".strip())
        # The unpickler would reserve memory for all slots up to this one.
        if opcode.name == "LONG_BINPUT" and argument > len(data):
            raise _refusal(path, f"a pickle that asks for {argument} memory slots")


class _Unpickler(pickle.Unpickler):
    def __init__(self, path: Path, data: bytes):
        super().__init__(io.BytesIO(data))
        self.path = path

    def find_class(self, module: str, name: str) -> Callable | str:
        return _known(self.path, f"{module}.{name}")

    def persistent_load(self, reference: tuple) -> Storage:
        kind, dtype, key, _, _ = reference
        if kind != "storage" or dtype not in STORAGES.values() or not isinstance(key, str):
            raise _refusal(self.path, f"a pickle that refers to {reference!r:.200}")
        return Storage(None if dtype == "untyped" else dtype, key)


def _known(path: Path, name: str) -> Callable | str:
    if name not in GLOBALS:
        raise _refusal(path, f"a pickle that asks for {name}")
    return GLOBALS[name]


def _ordered_dict(items=()) -> StateDict:
    return StateDict(items)


def _tensor(storage, offset, size, stride, requires_grad, backward_hooks, metadata=None) -> Tensor:
    """torch._utils._rebuild_tensor_v2."""
    return _tensor_of(storage.dtype, storage, offset, size, stride)


def _tensor_of_untyped(
    storage, offset, size, stride, requires_grad, backward_hooks, dtype, metadata=None
) -> Tensor:
    """torch._utils._rebuild_tensor_v3."""
    return _tensor_of(dtype, storage, offset, size, stride)


def _tensor_of(dtype, storage, offset, size, stride) -> Tensor:
    if not isinstance(storage, Storage) or not isinstance(dtype, str):
        raise TypeError(f"a tensor of {dtype!r:.100} on {storage!r:.100}")
    return Tensor(dtype, storage.key, offset, tuple(size), tuple(stride))


def _parameter(data, requires_grad, backward_hooks) -> Tensor:
    """torch._utils._rebuild_parameter."""
    return data


# Names stand for themselves as strings: unlike classes and dtypes, nothing can be done to them.
STORAGES = {
    f"torch.{name}Storage": name.lower()
    for name in "Double Float Half BFloat16 Long Int Short Char Byte Bool ComplexFloat "
    "ComplexDouble Untyped".split()
} | {"torch.storage.UntypedStorage": "untyped"}
SCALARS = {
    "torch.float64": "double",
    "torch.float32": "float",
    "torch.float16": "half",
    "torch.int64": "long",
    "torch.int32": "int",
    "torch.int16": "short",
    "torch.int8": "char",
    "torch.uint8": "byte",
    "torch.complex64": "complexfloat",
    "torch.complex128": "complexdouble",
} | {
    f"torch.{name}": name
    for name in "bfloat16 bool uint16 uint32 uint64 float8_e4m3fn float8_e5m2".split()
}
GLOBALS: dict[str, Callable | str] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_untyped,
    "torch._utils._rebuild_parameter": _parameter,
    **STORAGES,
    **SCALARS,
}


def _refusal(path: Path, found: str) -> InputError:
    return InputError(
        str(path),
        found=found,
        expected="tensors, dicts, lists, numbers and strings; nothing was executed",
        fix="do not load this file unless you trust it; ask its author for safetensors",
    )
