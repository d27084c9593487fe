"""ArrayRecord files, TFDS' format with random access to records, read without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from array_record.python.array_record_module import ArrayRecordReader

from semanticvla_jax.data.examples import Span
from semanticvla_jax.errors import InputError


class ArrayRecordFile:
    """A `record_files.RecordFile`.

    Records are compressed, so that a part of one costs reading and unpacking the whole.
    """

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return ArrayRecordFile, (self.path,)

    def records(self) -> Iterator[tuple[bytes, Span]]:
        for number in range(self._reader.num_records()):
            record = self._record(number)
            yield record, (0, len(record))

    def read(self, record: int, spans: Sequence[Span]) -> list[bytes]:
        whole = self._record(record)
        return [whole[start:stop] for start, stop in spans]

    @cached_property
    def _reader(self) -> ArrayRecordReader:
        return ArrayRecordReader(str(self.path), "readahead_buffer_size:0,max_parallelism:1")

    def _record(self, number: int) -> bytes:
        try:
            return self._reader.read([number])[0]
        except (RuntimeError, IndexError) as error:
            raise InputError(
                f"record {number} of {self.path}",
                found=f"{type(error).__name__}: {error}",
                expected="an intact ArrayRecord file",
                fix="copy or write the dataset again; the file is damaged or incomplete",
            ) from None
