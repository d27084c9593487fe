"""The layouts that can be written: OpenVLA's, and the authors' checkpoint folder."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from semanticvla_jax.models.lora import LoRA
from semanticvla_jax.weights import authors, authors_folder
from semanticvla_jax.weights.derived import Derived
from semanticvla_jax.weights.export import export, refuse_adapters
from semanticvla_jax.weights.writing import Progress, write_safetensors


@dataclasses.dataclass(frozen=True)
class Beside:
    """What is written beside the arrays.

    Attributes:
      llm: slot `llm` of the model's configuration.
      lora: what adapters were trained with, or None.
      statistics: normalisation statistics as JSON, or None.
    """

    llm: Mapping[str, Any]
    lora: LoRA | None
    statistics: Mapping[str, Any] | None


@dataclasses.dataclass(frozen=True)
class ExportLayout:
    """arrays: parameters -> foreign name: array; write: (folder, arrays, ...) -> files."""

    arrays: Callable[[Mapping], dict[str, Derived]]
    write: Callable[..., None]


def semanticvla_arrays(params: Mapping) -> dict[str, Derived]:
    """A whole model under the authors' names, adapters unmerged where it has some."""
    return export(params, authors.semanticvla(lm_head=True))


def openvla_arrays(params: Mapping) -> dict[str, Derived]:
    """Towers, projector and language model under OpenVLA's names.

    Raises:
      InputError: adapters, or parameters that OpenVLA has not.
    """
    refuse_adapters(params, "openvla")
    return export(params, authors.openvla(lm_head=True))


def write_semanticvla(
    folder: Path, arrays: Mapping, beside: Beside, shard_bytes: float, progress: Progress
) -> None:
    authors_folder.write_folder(
        folder,
        arrays,
        lora=beside.lora if authors_folder.has_adapters(arrays) else None,
        statistics=beside.statistics,
        shard_bytes=shard_bytes,
        progress=progress,
    )
    _write_configuration(folder, beside)


def write_openvla(
    folder: Path, arrays: Mapping, beside: Beside, shard_bytes: float, progress: Progress
) -> None:
    write_safetensors(folder, "model", arrays, shard_bytes=shard_bytes, progress=progress)
    _write_configuration(folder, beside)


LAYOUTS = {
    "semanticvla": ExportLayout(semanticvla_arrays, write_semanticvla),
    "openvla": ExportLayout(openvla_arrays, write_openvla),
}


def _write_configuration(folder: Path, beside: Beside) -> None:
    """`config.json` with what a reader of the language model cannot see in its shapes."""
    theirs = {
        "num_attention_heads": "heads",
        "rms_norm_eps": "rms_epsilon",
        "rope_theta": "rope_theta",
        "hidden_act": "activation",
    }
    stated = {key: beside.llm[ours] for key, ours in theirs.items() if ours in beside.llm}
    text = {"text_config": {"model_type": "llama", **stated}}
    (folder / "config.json").write_text(json.dumps(text, indent=1))
