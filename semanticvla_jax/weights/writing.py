"""Writes safetensors: one file, or shards below a size with an index, as Hugging Face reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from semanticvla_jax.weights.derived import Derived

SHARD_BYTES = 4 << 30
# Hugging Face refuses files that do not say so; it means "layouts are torch's".
METADATA = {"format": "pt"}

Progress = Callable[[str, int], None]


def write_safetensors(
    folder: Path,
    stem: str,
    arrays: Mapping[str, Derived],
    *,
    shard_bytes: float = SHARD_BYTES,
    progress: Progress = lambda name, size: None,
) -> list[Path]:
    """Writes `STEM.safetensors`, or `STEM-00001-of-0000N.safetensors` and their index.

    Values are read one shard at a time.

    Args:
      folder: exists.
      stem: of the file names.
      arrays: anything with `shape`, `dtype`, `nbytes`, and values by np.asarray.
      shard_bytes: most bytes of a shard, but for a single larger array.
      progress: called with each array's name and size in bytes.
    """
    shards = _shards(arrays, shard_bytes)
    count = len(shards)
    files = [
        folder
        / (f"{stem}-{i:05d}-of-{count:05d}.safetensors" if count > 1 else f"{stem}.safetensors")
        for i in range(1, count + 1)
    ]
    for file, names in zip(files, shards, strict=True):
        values = {}
        for name in names:
            values[name] = np.ascontiguousarray(np.asarray(arrays[name]))
            progress(name, values[name].nbytes)
        save_file(values, file, METADATA)
    if count > 1:
        index = {
            "metadata": {"total_size": sum(array.nbytes for array in arrays.values())},
            "weight_map": {
                name: file.name for file, names in zip(files, shards, strict=True) for name in names
            },
        }
        (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index, indent=1))
    return files


def _shards(arrays: Mapping[str, Derived], limit: float) -> list[list[str]]:
    """Names in order, grouped so that each group's bytes stay below the limit."""
    shards, size = [[]], 0
    for name, array in arrays.items():
        if shards[-1] and size + array.nbytes > limit:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += array.nbytes
    return shards
