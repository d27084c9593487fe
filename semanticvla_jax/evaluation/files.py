"""Files that are whole or absent, and directories with one writer."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from semanticvla_jax.errors import InputError


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file so that readers and a kill see the old content or the new, nothing between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def take_lock(directory: Path) -> IO:
    """Becomes the directory's only writer, until the returned file is closed or the process ends.

    Raises:
      InputError: another one holds the lock.
    """
    file = (directory / ".lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise InputError(
            f"results directory {directory}",
            found="another evaluation that is writing to it",
            expected="one writer at a time",
            fix="wait for it, or choose another --out; every shard needs its own",
        ) from None
    return file
