"""The authors' checkpoint folder: several files that make one model, read and written.

    vision_backbone--*      towers, FiLM, aggregation tokens, fuser, ID-Pruner, text encoder;
                            adapters unmerged inside
    action_head--*, proprio_projector--*
    non_lora_trainables*    the fused projector and the projector of V->L tokens
    model*.safetensors      the language model with its adapters merged in, or else
    lora_adapter/           its adapters, PEFT's layout, and
    base/                   the OpenVLA-7B they belong to
    dataset_statistics.json

Files may be `.safetensors`, `.pt` or `.bin`. OpenVLA-OFT's folders have the same form.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from semanticvla_jax.errors import InputError
from semanticvla_jax.models.lora import LoRA
from semanticvla_jax.weights.files import open_weights
from semanticvla_jax.weights.rules import Rule, ignore
from semanticvla_jax.weights.writing import Progress, write_safetensors

# What the file's name begins with -> (prefix of its names in the whole model, the components of
# the whole model that are then taken from no other file).
PARTS = {
    "vision_backbone--": ("vision_backbone.", ("vision_backbone",)),
    "action_head--": ("action_head.", ("action_head",)),
    "proprio_projector--": ("proprio_projector.", ("proprio_projector",)),
    "non_lora_trainables": ("", ("projector", "fused_featurizer_sampler_proj", "sampler_proj")),
}
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
# DDP and PEFT put these in front of every name.
WRAPPERS = r"(?:module\.)?(?:base_model\.model\.)?(?:module\.)?"
ADAPTER_FOLDER, ADAPTER_FILE = "lora_adapter", "adapter_model"
BASE = "base"
STATISTICS = "dataset_statistics.json"

OWN_FILE, MERGED = "@own_file/", "@merged/"
# Names that the folder holds twice; the reader marks the copy that is not used.
LEFT_OUT: tuple[Rule, ...] = (
    ignore(f"{OWN_FILE}.*", "an older copy: the trained one has a file of its own"),
    ignore(f"{MERGED}.*", "adapters that are merged into model*.safetensors already"),
)


class AuthorsFolder(NamedTuple):
    """arrays: whole-model name -> array; adapter: PEFT's adapter_config.json; statistics: JSON."""

    arrays: dict[str, Any]
    adapter: dict[str, Any] | None
    statistics: dict[str, Any] | None


def read_folder(folder: str | Path) -> AuthorsFolder:
    """Opens a checkpoint folder.

    Raises:
      InputError: no such folder, several files for one part, or no language model.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            f"checkpoint {folder}",
            found="no such folder",
            expected="a folder with vision_backbone--*, action_head--* and the other parts",
            fix="give the folder's path",
        )
    arrays: dict[str, Any] = {}
    taken: list[str] = []
    for start, (prefix, components) in PARTS.items():
        if file := _one_file(folder, start):
            arrays |= {prefix + _bare(n): a for n, a in open_weights(file).items()}
            taken += components
    merged = sorted(folder.glob("model*.safetensors"))
    for name, array in _language_model(folder, merged).items():
        arrays[name if name.split(".")[0] not in taken else OWN_FILE + name] = array
    for name, array in _adapters(folder).items():
        is_copy = name.split(".")[0] in taken
        arrays[(OWN_FILE if is_copy else MERGED if merged else "") + name] = array
    return AuthorsFolder(
        arrays,
        _json(folder / ADAPTER_FOLDER / "adapter_config.json")
        or _json(folder / "adapter_config.json"),
        _json(folder / STATISTICS),
    )


def has_adapters(arrays: Mapping[str, Any]) -> bool:
    """Whether any adapter is used, not only present."""
    return any(".lora_" in name and not name.startswith((OWN_FILE, MERGED)) for name in arrays)


def write_folder(
    folder: Path,
    arrays: Mapping[str, Any],
    *,
    lora: LoRA | None,
    statistics: Mapping | None,
    shard_bytes: int,
    progress: Progress,
) -> None:
    """Writes a whole model in this layout; the language model's adapters, if any, beside its base.

    Args:
      folder: exists, empty.
      arrays: whole-model name -> array, as `export` gives them.
      lora: what the adapters among the arrays were trained with.
      statistics: normalisation statistics as JSON.
      shard_bytes: most bytes of a file of the language model.
      progress: see `write_safetensors`.
    """
    options = {"shard_bytes": shard_bytes, "progress": progress}
    one_file = {"shard_bytes": math.inf, "progress": progress}
    rest = dict(arrays)
    for start, (prefix, components) in PARTS.items():
        names = [name for name in rest if name.split(".")[0] in components]
        part = _with_base_layers({name.removeprefix(prefix): rest.pop(name) for name in names})
        stem = start + ("checkpoint" if start.endswith("--") else "--checkpoint")
        if part:
            write_safetensors(folder, stem, part, **one_file)
    adapters = {name: rest.pop(name) for name in list(rest) if ".lora_" in name}
    if adapters:
        (folder / BASE).mkdir()
        (folder / ADAPTER_FOLDER).mkdir()
        write_safetensors(folder / BASE, "model", rest, **options)
        peft = {f"base_model.model.{name}": array for name, array in adapters.items()}
        write_safetensors(folder / ADAPTER_FOLDER, ADAPTER_FILE, peft, **one_file)
    else:
        write_safetensors(folder, "model", rest, **options)
    if lora:
        target = folder / (ADAPTER_FOLDER if adapters else ".") / "adapter_config.json"
        target.write_text(json.dumps(_adapter_config(lora, arrays), indent=1))
    if statistics:
        (folder / STATISTICS).write_text(json.dumps(statistics, indent=1))


def _one_file(folder: Path, start: str) -> Path | None:
    files = [p for p in sorted(folder.glob(f"{start}*")) if p.suffix in SUFFIXES]
    if len(files) > 1:
        raise InputError(
            f"checkpoint {folder}",
            found=f"{len(files)} files {start}*: {[p.name for p in files][:8]}",
            expected="one of each part",
            fix="put one step's files into a folder of their own",
        )
    return files[0] if files else None


def _language_model(folder: Path, merged: Sequence[Path]) -> dict[str, Any]:
    """The files of a whole OpenVLA: merged in the folder itself, or the base that is to adapt."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        path = index
    elif len(merged) == 1:
        path = merged[0]
    elif (folder / BASE).is_dir():
        path = folder / BASE
    else:
        raise InputError(
            f"checkpoint {folder}",
            found="no language model: neither model*.safetensors nor a folder 'base'",
            expected="the merged model, or the OpenVLA-7B that the adapters belong to",
            fix=f"link it: ln -s /path/to/openvla-7b {folder / BASE}",
        )
    return {_bare(name): array for name, array in open_weights(path).items()}


def _adapters(folder: Path) -> dict[str, Any]:
    for place in (folder / ADAPTER_FOLDER, folder):
        if file := _one_file(place, ADAPTER_FILE):
            return {_bare(name): array for name, array in open_weights(file).items()}
    return {}


def _bare(name: str) -> str:
    return re.sub(f"^{WRAPPERS}", "", name)


def _json(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text()) if path.is_file() else None
    except ValueError as error:
        raise InputError(
            str(path), found=f"no JSON: {error}", expected="JSON", fix="copy it again"
        ) from None


def _with_base_layers(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Names as a model with PEFT's adapters inside has them."""
    adapted = {name.split(".lora_A.")[0] for name in arrays if ".lora_A." in name}

    def named(name: str) -> str:
        layer, _, leaf = name.rpartition(".")
        if layer in adapted:
            return f"{layer}.base_layer.{leaf}"
        return re.sub(r"(\.lora_[AB])\.weight$", r"\1.default.weight", name)

    return {named(name): array for name, array in arrays.items()}


def _adapter_config(lora: LoRA, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """PEFT's adapter_config.json."""
    layers = {name.split(".lora_A.")[0].split(".")[-1] for name in arrays if ".lora_A." in name}
    return {
        "peft_type": "LORA",
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "init_lora_weights": "gaussian",
        "target_modules": sorted(layers),
        "base_model_name_or_path": BASE,
    }
