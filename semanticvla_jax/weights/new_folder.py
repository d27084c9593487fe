"""Folders that are complete or absent."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from semanticvla_jax.errors import InputError


def refuse_existing(path: str | Path) -> Path:
    """The path, absolute.

    Raises:
      InputError: something is there; nothing is ever overwritten.
    """
    path = Path(path).resolve()
    if path.exists():
        raise InputError(
            f"destination {path}",
            found="something there already",
            expected="a new path",
            fix="name another one, or remove it",
        )
    return path


@contextlib.contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """A folder to write into; it gets its name when the block ends well, and is removed otherwise.

    A killed process leaves only a folder `.NAME.PID.partial` behind.

    Raises:
      InputError: the path exists.
    """
    path = refuse_existing(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        os.rename(partial, refuse_existing(path))
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
