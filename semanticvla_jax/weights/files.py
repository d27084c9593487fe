"""Opens a file or folder of foreign weights, whatever its format, without reading the values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from semanticvla_jax.errors import InputError
from semanticvla_jax.weights.lazy_array import LazyArray
from semanticvla_jax.weights.npz_files import open_npz
from semanticvla_jax.weights.safetensors_files import open_safetensors
from semanticvla_jax.weights.shards import open_shards
from semanticvla_jax.weights.torch_files import open_torch

FORMATS = {
    ".safetensors": open_safetensors,
    ".pt": open_torch,
    ".pth": open_torch,
    ".bin": open_torch,
    ".npz": open_npz,
}
INDEX = ".index.json"
# Which of a folder's files stand for it: the first pattern that any file matches.
FOLDER_PATTERNS = (
    f"*.safetensors{INDEX}",
    f"*.bin{INDEX}",
    "*.safetensors",
    "*.bin",
    "*.pt",
    "*.pth",
    "*.npz",
)


def open_weights(path: str | Path) -> Mapping[str, LazyArray]:
    """Name -> array that is read when asked for; now only headers are.

    Args:
      path: a `.safetensors`, torch (`.pt`, `.pth`, `.bin`) or `.npz` file, the `.index.json` of a
        sharded one, or a folder with one of these.

    Raises:
      InputError: no such file, a format that is not supported, a file that is damaged, incomplete
        or hostile. Nothing in a file is ever executed.
    """
    path = Path(path)
    if path.is_dir():
        return open_weights(_standing_for(path))
    if not path.is_file():
        raise InputError("weights", found=f"no file {path}", expected="a file", fix="give its path")
    if path.stat().st_size == 0:
        raise InputError(str(path), found="an empty file", expected="weights", fix="copy it again")
    if path.name.endswith(INDEX):
        return open_shards(path, _format(path.with_name(path.name.removesuffix(INDEX))))
    return _format(path)(path)


def _format(path: Path):
    if path.suffix not in FORMATS:
        raise InputError(
            f"weights {path.name}",
            found=f"extension {path.suffix!r}",
            expected=f"one of {', '.join(FORMATS)}, an {INDEX} of shards, or a folder of them",
            fix="convert the file, or rename it if it is in one of these formats",
        )
    return FORMATS[path.suffix]


def _standing_for(folder: Path) -> Path:
    """The index or the one file of a folder."""
    for pattern in FOLDER_PATTERNS:
        if found := sorted(folder.glob(pattern)):
            break
    if len(found) != 1:
        raise InputError(
            f"weights folder {folder}",
            found=f"{len(found)} files of weights: {[p.name for p in found][:8]}",
            expected=f"one {INDEX} of shards, or one file in {', '.join(FORMATS)}",
            fix="name the file",
        )
    return found[0]
