"""big_vision's SigLIP (`.npz`): blocks stacked or one by one, with or without `params/`."""

from __future__ import annotations

from pathlib import Path

from flax import linen as nn

from semanticvla_jax.weights import big_vision, settings
from semanticvla_jax.weights.files import open_weights
from semanticvla_jax.weights.formats.format import (
    TEXT_ENCODER,
    Format,
    Source,
    behind_features,
    on_grid,
)
from semanticvla_jax.weights.layouts import bilinear
from semanticvla_jax.weights.rules import Rule, ignore

CONTRASTIVE = ignore(f"{big_vision.ROOT}[tb]", "of the contrastive loss")


def open_image(path: Path, model: nn.Module) -> Source:
    arrays = big_vision.unstacked(open_weights(path))
    heads = big_vision.head_count(arrays, "img")
    return Source(arrays, settings.BIG_VISION_IMAGE | {"siglip.heads": heads})


def open_text(path: Path, model: nn.Module) -> Source:
    arrays = big_vision.unstacked(open_weights(path))
    heads = big_vision.head_count(arrays, "txt")
    return Source(arrays, settings.TEXT | {"pruners.text_encoder.heads": heads})


def image_rules(model: nn.Module) -> list[Rule]:
    tower = model.siglip
    return [
        *behind_features(f"{big_vision.ROOT}img/Transformer/encoderblock_", tower),
        *big_vision.image_tower(
            "siglip/", final_norm=tower.final_norm, positions=on_grid(tower, bilinear)
        ),
        ignore(f"{big_vision.ROOT}txt/.*", "text tower: imported by big-vision-text"),
        ignore(f"{big_vision.ROOT}llm/.*", "PaliGemma's language model"),
        CONTRASTIVE,
    ]


def text_rules(model: nn.Module) -> list[Rule]:
    return [
        *big_vision.text_tower("pruners/text_encoder/"),
        ignore(f"{big_vision.ROOT}img/.*", "image tower: imported by big-vision-image"),
        CONTRASTIVE,
    ]


BIG_VISION_IMAGE = Format(
    "big_vision's SigLIP .npz: its image tower, into siglip",
    open_image,
    image_rules,
    ("siglip/.*",),
)
BIG_VISION_TEXT = Format(
    "big_vision's SigLIP .npz: its text tower, into pruners/text_encoder",
    open_text,
    text_rules,
    (TEXT_ENCODER,),
)
