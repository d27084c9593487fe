"""SigLIP from Hugging Face (text or vision tower of one checkpoint) and from timm (vision)."""

from __future__ import annotations

from pathlib import Path

from flax import linen as nn

from semanticvla_jax.weights import hugging_face, settings
from semanticvla_jax.weights.files import open_weights
from semanticvla_jax.weights.formats.format import (
    TEXT_ENCODER,
    Format,
    Source,
    behind_features,
    configuration,
    on_grid,
)
from semanticvla_jax.weights.layouts import bicubic
from semanticvla_jax.weights.rules import Rule, ignore
from semanticvla_jax.weights.timm import timm_vit

CONTRASTIVE = ignore("logit_(scale|bias)", "of the contrastive loss")


def open_text(path: Path, model: nn.Module) -> Source:
    config = configuration(path)
    return Source(open_weights(path), settings.siglip_text(config.get("text_config", config)))


def open_vision(path: Path, model: nn.Module) -> Source:
    config = configuration(path)
    return Source(open_weights(path), settings.siglip_vision(config.get("vision_config", config)))


def open_timm(path: Path, model: nn.Module) -> Source:
    return Source(open_weights(path), settings.TIMM_SIGLIP)


def text_rules(model: nn.Module) -> list[Rule]:
    return [
        *hugging_face.hf_siglip_text("", "pruners/text_encoder/"),
        ignore(r"vision_model\..*", "vision tower: imported by siglip-hf-vision"),
        CONTRASTIVE,
    ]


def vision_rules(model: nn.Module) -> list[Rule]:
    tower = model.siglip
    return [
        *behind_features(r"vision_model\.encoder\.layers\.", tower),
        *hugging_face.hf_siglip_vision(
            "", "siglip/", final_norm=tower.final_norm, positions=on_grid(tower, bicubic)
        ),
        ignore(r"text_model\..*", "text tower: imported by siglip-hf-text"),
        CONTRASTIVE,
    ]


def timm_rules(model: nn.Module) -> list[Rule]:
    tower = model.siglip
    return [
        *behind_features(r"blocks\.", tower),
        *timm_vit("", "siglip/", final_norm=tower.final_norm, positions=on_grid(tower, bicubic)),
    ]


SIGLIP_HF_TEXT = Format(
    "Hugging Face SigLIP: its text tower, into pruners/text_encoder",
    open_text,
    text_rules,
    (TEXT_ENCODER,),
)
SIGLIP_HF_VISION = Format(
    "Hugging Face SigLIP: its vision tower, into siglip", open_vision, vision_rules, ("siglip/.*",)
)
SIGLIP_TIMM = Format(
    "timm's SigLIP vision tower, into siglip", open_timm, timm_rules, ("siglip/.*",)
)
