"""Messages: openpi-client's bytes, and a reader that no bytes can hurt."""

from __future__ import annotations

import tracemalloc

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from semanticvla_jax.client import wire

ONE = np.array([1.0], np.float32)
ONE_AS_SENT = (
    b"\x81"  # a map of one entry
    b"\xa5state"
    b"\x84"  # a map of four
    b"\xc4\x0b__ndarray__\xc3"  # bytes of length 11, true
    b"\xc4\x04data\xc4\x04\x00\x00\x80\x3f"  # 1.0, little-endian
    b"\xc4\x05dtype\xa3<f4"
    b"\xc4\x05shape\x91\x01"  # [1]
)


def test_bytes_are_those_of_openpi_client():
    assert wire.encode({"state": ONE}) == ONE_AS_SENT
    np.testing.assert_array_equal(wire.decode(ONE_AS_SENT)["state"], ONE)


def test_scalars_keep_their_type():
    decoded = wire.decode(wire.encode([np.int16(-3), np.bool_(True), np.float32(0.5)]))
    assert [type(value) for value in decoded] == [np.int16, np.bool_, np.float32]
    assert decoded == [-3, True, 0.5]


numeric = st.one_of(
    hnp.integer_dtypes(), hnp.unsigned_integer_dtypes(), hnp.floating_dtypes(sizes=(16, 32, 64))
)
arrays = st.one_of(numeric, hnp.boolean_dtypes()).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=5))
)


@settings(max_examples=100, deadline=None)
@given(arrays)
def test_arrays_come_back(array):
    decoded = wire.decode(wire.encode({"array": array.T}))["array"]
    assert decoded.shape == array.T.shape and decoded.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(decoded, array.T)


@pytest.mark.parametrize(
    "value",
    [
        np.array(["text"]),
        np.array([object()]),
        np.array([1j]),
        np.zeros(2, [("a", "f4")]),
        np.array(["2020-01-01"], "datetime64[D]"),
        object(),
        {1, 2},
    ],
)
def test_what_cannot_be_sent_is_said(value):
    with pytest.raises(TypeError, match="cannot hold"):
        wire.encode({"value": value})


def sent_array(changes: dict) -> bytes:
    """Two zeros as float32, but for the changes."""
    entries = {b"__ndarray__": True, b"data": b"\0" * 8, b"dtype": "<f4", b"shape": [2]}
    return msgpack.packb(entries | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {b"dtype": "O"},
        {b"dtype": "|V8"},
        {b"dtype": "<c8"},
        {b"dtype": "f4,(1000000)f8"},
        {b"dtype": "__import__('os')"},
        {b"dtype": ["<f4"]},
        {b"dtype": None},
        {b"shape": [3]},
        {b"shape": [-2]},
        {b"shape": [2.0]},
        {b"shape": [True, 2]},
        {b"shape": 2},
        {b"shape": [1] * 40 + [2]},
        {b"shape": [2**62, 2**62]},
        {b"data": "text"},
        {b"data": None},
        {b"data": b""},
    ],
)
def test_arrays_that_lie(changes):
    np.testing.assert_array_equal(wire.decode(sent_array({})), np.zeros(2, np.float32))
    with pytest.raises(wire.WireError):
        wire.decode(sent_array(changes))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",  # never used by msgpack
        b"\xa5stat",  # shorter than it says
        b"\x01\x01",  # two messages
        b"\xa1\xff",  # no UTF-8
        b"\x81\x01\x01",  # an integer as key
        b"\x81\x90\x01",  # a list as key
        b"\xd4\x05a",  # an extension
        b"\xc7\x00\x05",  # an empty one
        b"\xd6\xff\x00\x00\x00\x01",  # a timestamp
        b"\x91" * 100_000,  # nested too deep
        b"\xdd\xff\xff\xff\xff",  # a list of four billion
        b"\xdf\xff\xff\xff\xff",  # a map of as many
        b"\xc6\xff\xff\xff\xff",  # bytes of as many
        msgpack.packb({b"__npgeneric__": True, b"data": 300, b"dtype": "|u1"}),
        msgpack.packb({b"__npgeneric__": True, b"data": "x", b"dtype": "<f4"}),
    ],
)
def test_malformed_messages(data):
    with pytest.raises(wire.WireError):
        wire.decode(data)


@pytest.mark.parametrize(
    "data",
    [
        # Nested lists that each promise as many entries as the message has bytes.
        (b"\xdd" + (1_000_000).to_bytes(4, "big")) * 200_000,
        (b"\xdc\x04\x00") * 300_000,
        # A million empty maps: 64 bytes of memory for each byte.
        b"\xdc\x03\xff" + (b"\xdc\x03\xff" + b"\x80" * 1023) * 1023,
        b"\xdc\x03\xff" + (b"\xdc\x03\xff" + b"\x90" * 1023) * 1023,
    ],
    ids=["promises", "nested", "maps", "lists"],
)
def test_memory_is_bounded(data):
    tracemalloc.start()
    try:
        with pytest.raises(wire.WireError):
            wire.decode(data)
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_a_wire_error(data):
    try:
        wire.decode(data)
    except wire.WireError:
        pass


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_damaged_messages_give_a_value_or_a_wire_error(data):
    good = bytearray(wire.encode({"image": np.zeros((2, 2, 3), np.uint8), "state": ONE, "n": "go"}))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        wire.decode(bytes(good[: data.draw(st.integers(0, len(good)))]))
    except wire.WireError:
        pass
