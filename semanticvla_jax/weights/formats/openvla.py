"""OpenVLA-7B as Hugging Face has it: sharded safetensors with an index, and `config.json`."""

from __future__ import annotations

from pathlib import Path

from flax import linen as nn

from semanticvla_jax.weights import authors, settings
from semanticvla_jax.weights.files import open_weights
from semanticvla_jax.weights.formats.format import Format, Source, behind_features, configuration
from semanticvla_jax.weights.rules import Rule


def open_openvla(path: Path, model: nn.Module) -> Source:
    config = configuration(path)
    assumed = settings.TIMM_SIGLIP | settings.TIMM_DINOV2
    assumed = assumed | settings.llama(config.get("text_config", {}))
    return Source(open_weights(path), assumed, config.get("norm_stats"))


def unused_blocks(model: nn.Module) -> list[Rule]:
    """OpenVLA reads its towers' second to last blocks, so the last ones may have no place."""
    towers = authors.MODEL + r"vision_backbone\.(?:vision_backbone\.)?"
    return [
        *behind_features(rf"{towers}featurizer\.blocks\.", model.dino),
        *behind_features(rf"{towers}fused_featurizer\.blocks\.", model.siglip),
    ]


def rules(model: nn.Module) -> list[Rule]:
    return [*unused_blocks(model), *authors.openvla(lm_head=model.llm.lm_head)]


OPENVLA = Format(
    "OpenVLA-7B, Hugging Face folder: towers, fused projector, language model",
    open_openvla,
    rules,
    (r"(dino|siglip|llm)/.*", r"fuser/sparse_fuser/projector/.*"),
)
