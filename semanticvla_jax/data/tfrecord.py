"""TFRECORD files and `tf.train.Example` messages, read in place without TensorFlow.

File format: per record u64 length, u32 masked CRC-32C of those 8 bytes, the payload, u32 masked
CRC-32C of the payload. Messages are walked on the protocol-buffer wire: long byte strings (images)
are never copied, only located.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from semanticvla_jax.errors import InputError

Span = tuple[int, int]  # start and stop offset in a buffer

_HEADER, _FOOTER = struct.Struct("<QI"), 4


def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC_TABLE = _crc_table()


def masked_crc32c(data: bytes) -> int:
    """The checksum TFRECORD stores. Pure Python: meant for short strings."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def map_file(path: str | Path) -> mmap.mmap:
    """The file's bytes, mapped read-only.

    Raises:
      InputError: the file is missing or empty.
    """
    try:
        with open(path, "rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise InputError(
            f"dataset file {path}", found="nothing", expected="a TFRECORD file", fix=_COPY_AGAIN
        ) from None
    except ValueError:
        raise InputError(
            f"dataset file {path}", found="0 bytes", expected="TFRECORD records", fix=_COPY_AGAIN
        ) from None


_COPY_AGAIN = "copy or write the dataset again; the file is damaged or incomplete"


def record_spans(buffer: mmap.mmap | bytes, name: str | Path) -> Iterator[Span]:
    """Where each record's payload lies.

    Args:
      buffer: a whole TFRECORD file.
      name: for messages.

    Raises:
      InputError: a record is cut off, or its length does not match its checksum.
    """
    position, size = 0, len(buffer)
    while position < size:
        start = position + _HEADER.size
        if start > size:
            raise _truncated(name, size, start)
        length, checksum = _HEADER.unpack_from(buffer, position)
        if masked_crc32c(buffer[position : position + 8]) != checksum:
            raise InputError(
                f"TFRECORD {name}",
                found=f"a wrong length checksum at byte {position}",
                expected="an intact record",
                fix=_COPY_AGAIN,
            )
        position = start + length + _FOOTER
        if position > size:
            raise _truncated(name, size, position)
        yield start, start + length


def _truncated(name: str | Path, size: int, expected: int) -> InputError:
    return InputError(
        f"truncated TFRECORD {name}",
        found=f"{size} bytes",
        expected=f"at least {expected} bytes",
        fix=_COPY_AGAIN,
    )


def _varint(buffer, position: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = buffer[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
        shift += 7


def _fields(buffer, span: Span) -> Iterator[tuple[int, Span]]:
    """(field number, value span) of one message."""
    position, stop = span
    while position < stop:
        tag, position = _varint(buffer, position)
        wire = tag & 7
        if wire == 2:
            length, position = _varint(buffer, position)
        elif wire == 0:
            length = _varint(buffer, position)[1] - position
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"protocol-buffer wire type {wire}")
        yield tag >> 3, (position, position + length)
        position += length
    if position != stop:
        raise ValueError("protocol-buffer field runs past its message")


def example_features(buffer, span: Span) -> dict[str, Span]:
    """Name -> where its `Feature` message lies, of one `tf.train.Example`."""
    features = {}
    for _, example in _fields(buffer, span):
        for _, entry in _fields(buffer, example):
            parts = dict(_fields(buffer, entry))
            if 1 in parts:
                start, stop = parts[1]
                features[bytes(buffer[start:stop]).decode()] = parts.get(2, (stop, stop))
    return features


def byte_strings(buffer, feature: Span, limit: int | None = None) -> list[Span]:
    """Where the (first `limit`) byte strings of a `BytesList` feature lie."""
    spans = []
    for _, values in _fields(buffer, feature):
        for _, span in _fields(buffer, values):
            spans.append(span)
            if len(spans) == limit:
                return spans
    return spans


def floats(buffer, feature: Span) -> np.ndarray:
    """f32[n]: the values of a `FloatList` feature."""
    parts = [
        np.frombuffer(buffer, "<f4", (stop - start) // 4, start)
        for _, values in _fields(buffer, feature)
        for _, (start, stop) in _fields(buffer, values)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)
