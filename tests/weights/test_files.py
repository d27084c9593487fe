"""Files of foreign weights: the same arrays from every format, and refusals with their reasons."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import save_file

from semanticvla_jax.errors import InputError
from semanticvla_jax.weights.files import open_weights
from semanticvla_jax.weights.lazy_array import LazyArray
from tests.weights import torch_writer

ARRAYS = {
    "block.0.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "block.0.half": np.linspace(-2, 2, 6).astype(np.float16).reshape(2, 1, 3),
    "embed": np.linspace(-3, 3, 10).astype(ml_dtypes.bfloat16).reshape(5, 2),
    "count": np.array(7, np.int64),
    "mask": np.array([True, False]),
    "empty": np.zeros((0, 3), np.float32),
}


def check(found, arrays=ARRAYS) -> None:
    """Same names, shapes, dtypes and bits."""
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].shape == array.shape and found[name].dtype == array.dtype
        assert found[name].nbytes == array.nbytes
        read = np.asarray(found[name])
        assert read.dtype == array.dtype and read.shape == array.shape
        assert read.tobytes() == array.tobytes()


def write_safetensors(path):
    save_file(ARRAYS, path)


def write_npz(path):
    np.savez(path, **ARRAYS)


def write_torch(path):
    torch_writer.write_arrays(path, ARRAYS)


@pytest.mark.parametrize(
    "name, write",
    [
        ("model.safetensors", write_safetensors),
        ("model.npz", write_npz),
        ("model.pt", write_torch),
        ("model.pth", write_torch),
        ("pytorch_model.bin", write_torch),
    ],
)
def test_each_format_gives_the_same_arrays(tmp_path, name, write):
    write(tmp_path / name)
    check(open_weights(tmp_path / name))
    check(open_weights(str(tmp_path)))


def test_opening_reads_no_values(tmp_path, monkeypatch):
    write_safetensors(tmp_path / "a.safetensors")
    found = open_weights(tmp_path)
    monkeypatch.setattr(np, "fromfile", None)
    assert found["embed"].shape == (5, 2)
    with pytest.raises(TypeError):
        found["embed"].read()


@pytest.mark.parametrize("big", [False, True])
def test_npz_orders_of_bytes_and_axes(tmp_path, big):
    array = np.arange(24.0, dtype=">f4" if big else "<f4").reshape(2, 3, 4)
    np.savez(tmp_path / "a.npz", **{"img/kernel": np.asfortranarray(array)})
    check(open_weights(tmp_path / "a.npz"), {"img/kernel": array.astype(np.float32)})


@given(
    shape=hnp.array_shapes(max_dims=4, max_side=5),
    order=st.permutations(range(4)),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_slices_of_strided_arrays_are_numpys(tmp_path_factory, shape, order, data):
    whole = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    array = whole.transpose([axis for axis in order if axis < whole.ndim])
    path = tmp_path_factory.getbasetemp() / "slices"
    path.write_bytes(b"before" + whole.tobytes())
    lazy = LazyArray(path, 6, array.shape, array.dtype, array.strides)
    index = data.draw(hnp.basic_indices(array.shape, allow_newaxis=True))
    np.testing.assert_array_equal(lazy.read(index), array[index], strict=isinstance(index, tuple))
    np.testing.assert_array_equal(np.asarray(lazy), array)


def test_a_slice_reads_its_own_bytes_only(tmp_path, monkeypatch):
    (tmp_path / "x").write_bytes(np.arange(1000, dtype=np.float32).tobytes())
    lazy = LazyArray.contiguous(tmp_path / "x", 0, (100, 10), np.float32)
    counts, fromfile = [], np.fromfile

    def counted(*args, count, **kwargs):
        counts.append(count)
        return fromfile(*args, count=count, **kwargs)

    monkeypatch.setattr(np, "fromfile", counted)
    np.testing.assert_array_equal(lazy.read(slice(3, 5))[1], np.arange(40, 50))
    assert counts == [2 * 10 * 4]
    with pytest.raises(TypeError):
        lazy.read([0, 1])


def shards(folder, suffix="safetensors"):
    """Two shards and their index; returns the index's path."""
    stem = {"safetensors": "model", "bin": "pytorch_model"}[suffix]
    split = [list(ARRAYS)[::2], list(ARRAYS)[1::2]]
    listed = {}
    for i, names in enumerate(split, 1):
        file = f"{stem}-{i:05d}-of-00002.{suffix}"
        part = {name: ARRAYS[name] for name in names}
        if suffix == "bin":
            torch_writer.write_arrays(folder / file, part)
        else:
            save_file(part, folder / file)
        listed |= dict.fromkeys(names, file)
    index = folder / f"{stem}.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": listed}))
    return index


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards_by_folder_and_by_index(tmp_path, suffix):
    index = shards(tmp_path, suffix)
    check(open_weights(index))
    check(open_weights(tmp_path))


def edit(index, change) -> None:
    content = json.loads(index.read_text())
    change(content["weight_map"])
    index.write_text(json.dumps(content))


def test_shards_and_index_must_agree(tmp_path):
    index = shards(tmp_path)
    second = "model-00002-of-00002.safetensors"

    edit(index, lambda listed: listed.pop("embed"))
    with pytest.raises(InputError, match="beyond the index.*embed"):
        open_weights(tmp_path)
    edit(index, lambda listed: listed.update(embed=second))
    with pytest.raises(
        InputError, match="shards lack: .*'embed', 'model-00002.*beyond.*'model-000"
    ):
        open_weights(tmp_path)
    edit(index, lambda listed: listed.update(embed="../elsewhere.safetensors"))
    with pytest.raises(InputError, match="file beside the index"):
        open_weights(tmp_path)
    index.write_text("{}")
    with pytest.raises(InputError, match="KeyError: 'weight_map'"):
        open_weights(tmp_path)
    shards(tmp_path)
    (tmp_path / second).unlink()
    with pytest.raises(InputError, match=r"1 of 2 shards missing: \['model-00002-of-00002"):
        open_weights(tmp_path)


def test_paths_that_are_no_weights(tmp_path):
    with pytest.raises(InputError, match="no file"):
        open_weights(tmp_path / "absent.npz")
    with pytest.raises(InputError, match=r"0 files.*\.safetensors, \.pt"):
        open_weights(tmp_path)
    (tmp_path / "model.h5").write_bytes(b"x")
    with pytest.raises(InputError, match=r"extension '\.h5', expected one of \.safetensors, \.pt"):
        open_weights(tmp_path / "model.h5")
    for suffix in (".safetensors", ".pt", ".npz"):
        path = tmp_path / f"empty{suffix}"
        path.touch()
        with pytest.raises(InputError, match="an empty file"):
            open_weights(path)
    (tmp_path / "b.safetensors").write_bytes(b"x")
    with pytest.raises(InputError, match="2 files of weights: .*b.safetensors.*name the file"):
        open_weights(tmp_path)


def safetensors_bytes(header, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(start: int, stop: int, dtype: str = "U8", **changes) -> dict:
    return {"dtype": dtype, "shape": [stop - start], "data_offsets": [start, stop]} | changes


@pytest.mark.parametrize(
    "content, message",
    [
        (safetensors_bytes({"a": entry(0, 8)}, b"1234"), "not fully covered"),
        (safetensors_bytes({"a": entry(0, 4)}, b"12345678"), "not fully covered"),
        (safetensors_bytes({"a": entry(0, 4)}, b"1234", length=1 << 60), "header too large"),
        (safetensors_bytes({"a": entry(0, 4)}, b"1234", length=1 << 20), "invalid header length"),
        (
            safetensors_bytes({"a": entry(0, 4), "b": entry(2, 6)}, b"123456"),
            "invalid offset for tensor `b`",
        ),
        (safetensors_bytes({"a": entry(0, 4, shape=[9])}, b"1234"), "invalid shape"),
        (safetensors_bytes({"a": entry(0, 4, shape=[1 << 63, 4])}, b"1234"), "overflow"),
        (safetensors_bytes(b"not json", b"1234"), "invalid JSON"),
        (b"1234", "header too small"),
        (
            safetensors_bytes(b'{"a": %b, "a": %b}' % ((json.dumps(entry(0, 4)).encode(),) * 2))
            + b"1234",
            r"names that occur twice: \['a'\]",
        ),
        (safetensors_bytes({"a": entry(0, 1, "F4", shape=[2])}, b"1"), r"dtypes \['F4'\]"),
    ],
)
def test_damaged_safetensors(tmp_path, content, message):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        open_weights(path)


def test_a_file_that_shrinks_after_opening(tmp_path):
    path = tmp_path / "a.safetensors"
    write_safetensors(path)
    found = open_weights(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="the file ends at byte"):
        list(map(np.asarray, found.values()))


def test_npz_refusals(tmp_path):
    path = tmp_path / "bad.npz"

    def refused(message: str) -> None:
        with pytest.raises(InputError, match=message):
            open_weights(path)

    np.savez(path, params=np.array([{"a": 1}], object))
    refused("params.npy of dtype object")
    np.savez(path, names=np.array(["x"]))
    refused("names.npy of dtype <U1")
    np.savez_compressed(path, zeros=np.zeros(1_000_000))
    refused(r"1 compressed or encrypted members: \['zeros.npy'\].*np.savez")
    np.savez(path, a=np.arange(10.0))
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    refused("a whole zip archive")
    path.write_bytes(whole.replace(b"(10,)", b"(99,)"))
    refused(r"a.npy: \(99,\) float64 in 80 bytes, expected 792 bytes")
    path.write_bytes(whole.replace(b"NUMPY", b"MUMPY"))
    refused("a.npy: the magic string")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("code.py", "x")
    refused("another extension than .npy")
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a.npy", "x")
        archive.writestr("a.npy", "y")
    refused("a member name twice")
    path.write_bytes(pickle.dumps({}))
    refused("not a zip file")
