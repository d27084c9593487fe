"""torch checkpoints without torch: what torch can write is read, and nothing is ever executed."""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.weights.files import open_weights
from tests.weights.torch_writer import Raw, Tensor, call, name, opcodes, write, write_arrays

WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)


def tensor(offset=0, shape=(3, 4), strides=(4, 1), storage="FloatStorage", key="0") -> Tensor:
    return Tensor(storage, key, 12, offset, shape, strides)


def read(tmp_path, tree, storages=None, **options) -> dict[str, np.ndarray]:
    path = write(tmp_path / "x.pt", tree, storages or {"0": WEIGHT}, **options)
    return {key: np.asarray(value) for key, value in open_weights(path).items()}


def test_views_of_one_storage(tmp_path):
    found = read(
        tmp_path,
        {
            "whole": tensor(),
            "transposed": tensor(shape=(4, 3), strides=(1, 4)),
            "column": tensor(2, (3,), (4,)),
            "last": tensor(11, (), ()),
            "nothing": tensor(0, (0, 4), (4, 1)),
        },
    )
    np.testing.assert_array_equal(found["whole"], WEIGHT)
    np.testing.assert_array_equal(found["transposed"], WEIGHT.T)
    np.testing.assert_array_equal(found["column"], [2, 6, 10])
    assert found["last"] == 11 and found["last"].shape == ()
    assert found["nothing"].shape == (0, 4)


def test_big_endian_archives(tmp_path):
    found = read(tmp_path, {"a": tensor()}, {"0": WEIGHT.astype(">f4")}, byteorder="big")
    np.testing.assert_array_equal(found["a"], WEIGHT)
    assert found["a"].dtype == np.dtype(np.float32)


def test_parameters_module_versions_and_untyped_storages(tmp_path):
    hooks = call(name("collections", "OrderedDict"))
    parameter = call(name("torch._utils", "_rebuild_parameter"), tensor(), True, hooks)
    stored = opcodes(("storage", name("torch.storage", "UntypedStorage"), "1", "cpu", 4)) + b"Q"
    eight_bits = call(
        name("torch._utils", "_rebuild_tensor_v3"),
        *(Raw(stored), 0, (4,), (1,), False, hooks, name("torch", "float8_e4m3fn")),
    )
    items = b"(" + b"".join(map(opcodes, ("a", parameter, "b", eight_bits))) + b"u"
    metadata = opcodes({"_metadata": {"": {"version": 1}}}) + b"b"
    small = np.array([1, -2, 0.5, 448], ml_dtypes.float8_e4m3fn)
    found = read(tmp_path, Raw(hooks + items + metadata), {"0": WEIGHT, "1": small})
    np.testing.assert_array_equal(found["a"], WEIGHT)
    np.testing.assert_array_equal(found["b"], small)


def test_a_file_that_torch_wrote():
    """Written by torch 1.12: a bfloat16 state dict, a transposed parameter, Adam's state.

    torch.save({"model": {"weight": Parameter(arange(12, bfloat16).reshape(3, 4).t()), "mask":
    arange(4) > 1, "steps": tensor(5)}, "optimizer": Adam([...]).state_dict(), "epoch": 3}, path)
    """
    found = open_weights(Path(__file__).with_name("torch_1_12.pt"))
    moments = {f"optimizer.state.0.{part}" for part in ("step", "exp_avg", "exp_avg_sq")}
    assert found.keys() == {"weight", "mask", "steps"} | moments
    weight = np.asarray(found["weight"])
    assert weight.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(weight, WEIGHT.T)
    np.testing.assert_array_equal(found["mask"], [False, False, True, True])
    assert np.asarray(found["steps"]) == 5 and found["steps"].dtype == np.int64
    # After one step with gradients of one.
    np.testing.assert_allclose(
        np.asarray(found["optimizer.state.0.exp_avg"], np.float32), 0.1, 0.01
    )


@pytest.mark.parametrize(
    "wrap, expected",
    [
        (lambda t: {"model": t, "epoch": 3, "best": 0.5}, {"w"}),
        (lambda t: {"state_dict": t, "args": {"name": "x", "rates": [0.1, None]}}, {"w"}),
        (lambda t: {"model": {"projector": t, "head": {"0": t["w"]}}}, {"projector.w", "head.0"}),
        (lambda t: {"model": t, "optimizer": {"state": [t]}}, {"w", "optimizer.state.0.w"}),
        (lambda t: {"model.w": t["w"]}, {"model.w"}),
        (lambda t: {"model": t["w"]}, {"model"}),
    ],
)
def test_nested_names(tmp_path, wrap, expected):
    found = open_weights(write_arrays(tmp_path / "x.pt", {"w": WEIGHT}, wrap))
    assert found.keys() == expected
    for array in found.values():
        np.testing.assert_array_equal(array, WEIGHT)


class Bomb:
    """Unpickled by anyone but us, it leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_pickle_bomb_is_named_and_not_executed(tmp_path, protocol):
    exploded = tmp_path / "exploded"
    payload = pickle.dumps({"w": Bomb(exploded)}, protocol)
    pickle.loads(payload)
    assert exploded.exists(), "the bomb works"
    exploded.unlink()
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", payload)
    with pytest.raises(InputError, match="asks for posix.system.*nothing was executed"):
        open_weights(path)
    assert not exploded.exists()


@pytest.mark.parametrize(
    "module, attribute",
    [
        ("builtins", "eval"),
        ("torch.storage", "_load_from_bytes"),
        ("torch._utils", "_rebuild_qtensor"),
        ("torch._utils", "_rebuild_sparse_tensor"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("__torch__.model", "Module"),
        ("torch.nn.modules.linear", "Linear"),
        ("semanticvla_jax.weights.torch_pickle", "GLOBALS"),
    ],
)
def test_only_plain_tensors_are_known(tmp_path, module, attribute):
    with pytest.raises(InputError, match=f"asks for {module}.{attribute}"):
        read(tmp_path, {"w": call(name(module, attribute), "x")})


DICT = name("collections", "OrderedDict")
NESTED = Raw(opcodes({"a": 1}) + b"q\x00")
for level in range(1, 30):  # Two references to the level below: 2^29 leaves.
    inner = opcodes("l") + bytes([0x68, level - 1]) + opcodes("r") + bytes([0x68, level - 1])
    NESTED = Raw(NESTED + b"0" + b"}(" + inner + b"u" + b"q" + bytes([level]))


@pytest.mark.parametrize(
    "tree, message",
    [
        (Raw(b"(" + DICT + b"o"), "pickle opcode OBJ"),
        (Raw(DICT + b")\x81"), "pickle opcode NEWOBJ"),
        (Raw(b"(icollections\nOrderedDict\n"), "pickle opcode INST collections OrderedDict"),
        (Raw(name("torch.nn.modules.linear", "Linear") + b")\x81"), "asks for torch.nn.modules"),
        (Raw(b"\x82\x01"), "pickle opcode EXT1"),
        (Raw(b"}r" + struct.pack("<I", 1 << 31)), "asks for 2147483648 memory slots"),
        (Raw(b"}"), "0 tensors in a dict"),
        (Raw(b"R"), "a damaged pickle"),
        (Raw(opcodes("module") + b"Q"), "a damaged pickle"),
        (
            Raw(opcodes(("module", name("torch", "FloatStorage"), "0", "cpu", 1)) + b"Q"),
            "refers to .'module'",
        ),
        # State that would replace what a description says, or a function of ours.
        ({"w": Raw(opcodes(tensor()) + opcodes({"key": "1"}) + b"b")}, "a damaged pickle"),
        (NESTED, "pickle opcode POP"),
        (Raw(NESTED.replace(b"0}(", b"}(")), "a tree that repeats or contains itself"),
        (Raw(b"}q\x00(" + opcodes("a") + b"h\x00u"), "a tree that repeats or contains itself"),
        (tensor(), "1 tensors in a Tensor"),
    ],
)
def test_hostile_pickles(tmp_path, tree, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, tree)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (tensor(1), "element 12 of a storage of 12"),
        (tensor(shape=(4, 4)), "16 elements up to element 15 of a storage of 12"),
        (tensor(shape=(1 << 40, 4), strides=(0, 0)), "repeats no part"),
        (tensor(-1), "whole numbers"),
        (tensor(strides=(-4, 1)), "whole numbers"),
        (tensor(shape=(3,)), "whole numbers"),
        (tensor(shape=("3", 4)), "whole numbers"),
        (tensor(storage="DoubleStorage"), "storage of 6"),
        (tensor(key="9"), "without its storage 9"),
        (tensor(storage="QInt8Storage"), "asks for torch.QInt8Storage"),
    ],
)
def test_tensors_outside_their_storage(tmp_path, wrong, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, {"w": wrong})


def test_untyped_storages_need_a_dtype(tmp_path):
    with pytest.raises(InputError, match="a damaged pickle .TypeError: a tensor of None"):
        read(tmp_path, {"w": tensor(storage="UntypedStorage")})


def test_archives_that_torch_does_not_write(tmp_path):
    path = tmp_path / "x.pt"

    def refused(message: str) -> None:
        with pytest.raises(InputError, match=message):
            open_weights(path)

    path.write_bytes(pickle.dumps({"w": 1}, 2))
    refused("a bare pickle .torch before 1.6")
    path.write_bytes(b"\0" * 257 + b"ustar" + b"\0" * 250)
    refused("a tar archive")
    path.write_bytes(b"HDF5....")
    refused("begins with b'HDF5")
    write(path, {"w": tensor()}, {"0": WEIGHT}, compression=zipfile.ZIP_DEFLATED)
    refused("compressed or encrypted members")
    write(path, {"w": tensor()}, {"0": WEIGHT})
    path.write_bytes(path.read_bytes()[:-30])
    refused("a whole zip archive")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/other", "x")
    refused("one data.pkl")
    write(path, {"model": {"w": tensor()}, "w": tensor()}, {"0": WEIGHT})
    refused("w twice")
