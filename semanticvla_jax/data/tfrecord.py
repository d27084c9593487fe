"""TFRECORD files, read in place without TensorFlow.

Per record: u64 length, u32 masked CRC-32C of those 8 bytes, the payload, u32 masked CRC-32C of the
payload.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from semanticvla_jax.data.examples import Span
from semanticvla_jax.errors import InputError

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


class TfRecordFile:
    """A `record_files.RecordFile`. Parts of records are read straight out of the file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return TfRecordFile, (self.path,)

    def records(self) -> Iterator[tuple[mmap.mmap, Span]]:
        buffer = map_file(self.path)
        for span in record_spans(buffer, self.path):
            yield buffer, span

    @cached_property
    def _file(self):
        return open(self.path, "rb", buffering=0)

    def read(self, record: int, spans: Sequence[Span]) -> list[bytes]:
        parts = [os.pread(self._file.fileno(), stop - start, start) for start, stop in spans]
        for part, (start, stop) in zip(parts, spans, strict=True):
            if len(part) < stop - start:
                raise _truncated(self.path, start + len(part), stop)
        return parts
