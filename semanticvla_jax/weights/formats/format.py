"""What a checkpoint format is, and what several of them share."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flax import linen as nn

from semanticvla_jax.errors import InputError
from semanticvla_jax.models.vit import VisionTower
from semanticvla_jax.weights.layouts import Layout, resampled
from semanticvla_jax.weights.rules import Rule, ignore

TEXT_ENCODER = r"pruners/text_encoder/.*"
Interpolate = Callable[[np.ndarray, int], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Source:
    """An opened checkpoint.

    Attributes:
      arrays: foreign name -> array that is read when asked for.
      settings: what the checkpoint assumes of the model, see settings.py.
      statistics: normalisation statistics as JSON, or None.
    """

    arrays: Mapping[str, Any]
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    statistics: Mapping[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class Format:
    """One family of checkpoints.

    Attributes:
      summary: what it is, for the command's help.
      open: (path, model) -> Source.
      rules: model -> import rules.
      fills: regexes of those of our names that it fills completely; adapters may be missing.
    """

    summary: str
    open: Callable[[Path, nn.Module], Source]
    rules: Callable[[nn.Module], Sequence[Rule]]
    fills: tuple[str, ...]


def configuration(path: str | Path) -> dict[str, Any]:
    """`config.json` in the folder, or beside the file, that holds the weights; {} if none.

    Raises:
      InputError: it is no JSON.
    """
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    file = folder / "config.json"
    if not file.is_file():
        return {}
    try:
        return json.loads(file.read_text())
    except ValueError as error:
        raise InputError(
            str(file), found=f"no JSON: {error}", expected="JSON", fix="copy it again"
        ) from None


def behind_features(blocks: str, tower: VisionTower) -> list[Rule]:
    """Ignores blocks behind the one whose output is used; `blocks` is the regex before a number."""
    return [
        ignore(rf"{blocks}{i}[./].*", "block behind the feature layer, never run")
        for i in range(tower.feature_index + 1, 0 if tower.final_norm else tower.depth)
    ]


def on_grid(tower: VisionTower, interpolate: Interpolate) -> Layout:
    """Resamples a position table to the tower's patches where it was made for another grid."""
    return resampled(tower.image_size // tower.patch_embed.patch, interpolate)
