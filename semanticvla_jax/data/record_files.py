"""The file formats in which TFDS stores episodes, one per record."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from semanticvla_jax.data.array_records import ArrayRecordFile
from semanticvla_jax.data.examples import Span
from semanticvla_jax.data.tfrecord import TfRecordFile


class RecordFile(Protocol):
    """One file of a dataset. Picklable, and safe to read from several threads."""

    path: Path

    def records(self) -> Iterator[tuple[bytes | mmap.mmap, Span]]:
        """Per record a buffer, and where in it the record lies.

        Raises:
          InputError: the file is missing, damaged or incomplete.
        """

    def read(self, record: int, spans: Sequence[Span]) -> list[bytes]:
        """Parts of one record; the spans are places in its buffer.

        Raises:
          InputError: the file has been damaged or cut off since `records`.
        """


# By what dataset_info.json calls them, which is also what file names say.
RECORD_FILES: dict[str, Callable[[Path], RecordFile]] = {
    "tfrecord": TfRecordFile,
    "array_record": ArrayRecordFile,
}
