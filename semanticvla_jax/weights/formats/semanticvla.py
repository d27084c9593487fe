"""The authors' checkpoint folder, see authors_folder.py."""

from __future__ import annotations

from pathlib import Path

from flax import linen as nn

from semanticvla_jax.weights import authors, authors_folder, settings
from semanticvla_jax.weights.formats.format import Format, Source, configuration
from semanticvla_jax.weights.formats.openvla import unused_blocks
from semanticvla_jax.weights.rules import Rule


def open_folder(path: Path) -> Source:
    """The folder with what OpenVLA's towers, language model and adapters assume."""
    arrays, adapter, statistics = authors_folder.read_folder(path)
    config = configuration(path) or configuration(Path(path) / authors_folder.BASE)
    assumed = settings.TIMM_SIGLIP | settings.TIMM_DINOV2
    assumed = assumed | settings.llama(config.get("text_config", {}))
    if authors_folder.has_adapters(arrays):
        assumed = assumed | settings.adapters(adapter)
    return Source(arrays, assumed, statistics)


def open_semanticvla(path: Path, model: nn.Module) -> Source:
    source = open_folder(path)
    assumed = source.settings | settings.TEXT | settings.RELEASED
    return Source(source.arrays, assumed, source.statistics)


def rules(model: nn.Module) -> list[Rule]:
    return [
        *authors_folder.LEFT_OUT,
        *unused_blocks(model),
        *authors.semanticvla(lm_head=model.llm.lm_head),
    ]


SEMANTICVLA = Format(
    "the authors' checkpoint folder: everything", open_semanticvla, rules, (r".*",)
)
