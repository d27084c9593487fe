"""DINOv2 with registers, from timm and from Hugging Face, into `dino`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import linen as nn

from semanticvla_jax.weights import hugging_face, settings
from semanticvla_jax.weights.derived import Derived, part
from semanticvla_jax.weights.files import open_weights
from semanticvla_jax.weights.formats.format import (
    Format,
    Source,
    behind_features,
    configuration,
    on_grid,
)
from semanticvla_jax.weights.layouts import bicubic
from semanticvla_jax.weights.rules import Rule
from semanticvla_jax.weights.timm import timm_vit

TOKEN, TABLE = "embeddings.cls_token", "embeddings.position_embeddings"


def open_timm(path: Path, model: nn.Module) -> Source:
    return Source(open_weights(path), settings.TIMM_DINOV2)


def open_hugging_face(path: Path, model: nn.Module) -> Source:
    arrays = open_weights(path)
    if not model.dino.position_on_class and {TOKEN, TABLE} <= arrays.keys():
        arrays = class_position_folded(arrays)
    return Source(arrays, settings.dinov2(configuration(path)))


def class_position_folded(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """A table with a row for the class token -> the same function without that row.

    The class token only ever appears with its position added: cls + position[0] replaces it,
    exactly, and the patches keep their rows.
    """
    token, table = arrays[TOKEN], arrays[TABLE]
    row = part(table, (slice(None), slice(0, 1)))
    folded = Derived(token.shape, token.dtype, lambda: np.asarray(token) + np.asarray(row))
    return {**arrays, TOKEN: folded, TABLE: part(table, (slice(None), slice(1, None)))}


def timm_rules(model: nn.Module) -> list[Rule]:
    tower = model.dino
    return [
        *behind_features(r"blocks\.", tower),
        *timm_vit("", "dino/", final_norm=tower.final_norm, positions=on_grid(tower, bicubic)),
    ]


def hugging_face_rules(model: nn.Module) -> list[Rule]:
    tower = model.dino
    return [
        *behind_features(r"encoder\.layer\.", tower),
        *hugging_face.hf_dinov2(
            "", "dino/", final_norm=tower.final_norm, positions=on_grid(tower, bicubic)
        ),
    ]


DINOV2_TIMM = Format("timm's DINOv2 with registers, into dino", open_timm, timm_rules, ("dino/.*",))
DINOV2_HF = Format(
    "Hugging Face DINOv2 with registers, into dino",
    open_hugging_face,
    hugging_face_rules,
    ("dino/.*",),
)
