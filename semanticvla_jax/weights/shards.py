"""Checkpoints of several files with a Hugging Face index (`*.index.json`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from semanticvla_jax.errors import InputError
from semanticvla_jax.weights.lazy_array import LazyArray


def open_shards(
    index: Path, open_file: Callable[[Path], Mapping[str, LazyArray]]
) -> dict[str, LazyArray]:
    """All arrays of the shards that an index lists.

    Raises:
      InputError: an unreadable index, a shard that is missing or outside the index's folder, or
        names that differ between the index and its shards.
    """
    listed = _weight_map(index)
    files = sorted(set(listed.values()))
    missing = [name for name in files if not (index.parent / name).is_file()]
    if missing:
        raise InputError(
            str(index),
            found=f"{len(missing)} of {len(files)} shards missing: {missing[:8]}",
            expected="every listed shard beside the index",
            fix="download them again",
        )
    found = {name: open_file(index.parent / name) for name in files}
    pairs = {(array, file) for file in files for array in found[file]}
    if pairs != set(listed.items()):
        lacking, unlisted = sorted(set(listed.items()) - pairs), sorted(pairs - set(listed.items()))
        raise InputError(
            str(index),
            found=f"(name, shard) that the shards lack: {lacking[:4]}, beyond the index: "
            f"{unlisted[:4]}",
            expected="an index that lists what its shards contain",
            fix="download index and shards of one revision",
        )
    return {name: found[file][name] for name, file in listed.items()}


def _weight_map(index: Path) -> dict[str, str]:
    """Name of each array -> file name of its shard."""
    try:
        listed = json.loads(index.read_text())["weight_map"]
        plain = bool(listed) and all(Path(file).name == file for file in listed.values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        listed, plain = f"{type(error).__name__}: {error}", False
    if not plain:
        raise InputError(
            str(index),
            found=str(listed)[:200],
            expected='{"weight_map": {name: file beside the index}}',
            fix="download it again",
        )
    return listed
