"""Files that are either complete or absent, and a directory with a single writer."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from semanticvla_jax.errors import InputError

UNFINISHED = ".unfinished-"


def write_atomically(path: Path, content: bytes) -> None:
    """Writes `content` to `path`; a crash at any moment leaves the old file or the new one."""
    temporary = path.with_name(f"{UNFINISHED}{os.getpid()}-{path.name}")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    _sync_directory(path.parent)


def rename_durably(source: Path, destination: Path) -> None:
    """Renames a finished file or directory within one file system and makes the rename durable."""
    os.replace(source, destination)
    _sync_directory(destination.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_writable_directory(directory: Path) -> None:
    """Creates `directory` with its parents; `InputError` when that, or writing in it, fails."""
    probe = directory / f"{UNFINISHED}{os.getpid()}-probe"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"output directory {directory}",
            found=error.strerror or error,
            expected="a directory that can be created and written",
            fix="name another --out, or give this user permission to write there",
        ) from error


@contextlib.contextmanager
def single_writer(directory: Path) -> Iterator[None]:
    """Holds `directory` for this process; `InputError` when another one holds it.

    The lock belongs to the open file, so it ends with the process however that dies.
    """
    with open(directory / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"output directory {directory}",
                found="another running command that writes there",
                expected="one writer at a time",
                fix="wait for it to end, or name another --out",
            ) from None
        yield
