"""Accelerators by name, with settings: "vla_pruner:drop=0.75,sp_vla" on a command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from semanticvla_jax.accelerate import fopru, history, salience, spatio_semantic, vla_pruner
from semanticvla_jax.accelerate.adaptive import AdaptiveRatio
from semanticvla_jax.accelerate.fastv import FastV
from semanticvla_jax.accelerate.layer_skipping import LayerSkipping
from semanticvla_jax.accelerate.prumerge import PruMerge
from semanticvla_jax.accelerate.random_drop import RandomDrop
from semanticvla_jax.accelerate.sp_vla import Schedule
from semanticvla_jax.accelerate.sparsevlm import SparseVLM
from semanticvla_jax.accelerate.spatio_semantic import SpatioSemantic
from semanticvla_jax.accelerate.visionzip import VisionZip
from semanticvla_jax.accelerate.vla_cache import VLACache
from semanticvla_jax.accelerate.vla_pruner import VLAPruner
from semanticvla_jax.errors import InputError, choose

# name -> what it adds to a decoder of so many layers. Layers are the original's where the decoder
# has them (32 layers), and in proportion or as near as there are in smaller ones.
METHODS: Mapping[str, Callable[[int], tuple[Any, ...]]] = {
    "vla_pruner": lambda depth: (VLAPruner(before=early(3, depth), watched=(depth - 1) // 2),),
    "sp_vla": lambda depth: (SpatioSemantic(), Schedule()),
    "sp_vla_tokens": lambda depth: (SpatioSemantic(),),
    "sp_vla_schedule": lambda depth: (Schedule(),),
    "random": lambda depth: (RandomDrop(),),
    "fastv": lambda depth: (FastV(before=early(2, depth)),),
    "sparsevlm": lambda depth: (SparseVLM().scaled(depth),),
    "fopru": lambda depth: (fopru.FoPru(),),
    "prumerge": lambda depth: (PruMerge(),),
    "visionzip": lambda depth: (VisionZip(),),
    "vla_cache": lambda depth: (VLACache(watched=(depth - 1) // 2),),
    "efficient_vla": lambda depth: (LayerSkipping(),),
    "adaptive": lambda depth: (AdaptiveRatio(),),
}

# Settings that are functions -> which there are, by their names.
FUNCTIONS: Mapping[str, Sequence[Callable[..., Any]]] = {
    "rows": (
        salience.last_row,
        salience.all_rows,
        salience.text_rows,
        salience.rater_rows,
        salience.question_raters,
    ),
    "weighting": (history.oldest_heaviest, history.newest_heaviest),
    "features": (vla_pruner.input_features, vla_pruner.hidden_features),
    "strategy": (fopru.rank, fopru.row),
    "choose": (spatio_semantic.by_ratio, spatio_semantic.by_mass),
}


def early(layer: int, depth: int) -> int:
    """That layer, or the last there is; never the first, before which nothing was attended to."""
    return max(1, min(layer, depth - 1))


def read_methods(text: str, depth: int) -> tuple[Any, ...]:
    """The methods of a command line, for a decoder of `depth` layers.

    Args:
      text: names in METHODS, separated by commas, each with settings behind colons:
        "vla_pruner:drop=0.75:weighting=newest_heaviest,sp_vla_schedule".

    Raises:
      InputError: an unknown name or setting, or a value of another type.
    """
    methods: list[Any] = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, *settings = entry.split(":")
        for method in choose(METHODS, name, "accelerator")(depth):
            for setting in settings:
                method = _with(method, setting)
            methods.append(method)
    return tuple(methods)


def describe(method: Any) -> dict[str, Any]:
    """All settings of a method, JSON-able; functions by their names."""
    found = {}
    for name, value in _settings(method).items():
        found[name] = value.__name__ if callable(value) else value
    return found


def _settings(method: Any) -> dict[str, Any]:
    """Of the method and of the parts it is made of."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(method):
        value = getattr(method, field.name)
        found |= _settings(value) if dataclasses.is_dataclass(value) else {field.name: value}
    return found


def _with(method: Any, text: str) -> Any:
    """A method with another setting: 'drop=0.75', of the type that it has now."""
    name, _, value = text.partition("=")
    known = {
        key: now
        for key, now in _settings(method).items()
        if key in FUNCTIONS or isinstance(now, (int, float))
    }
    what = f"setting of accelerator '{method.name}'"
    now = choose(known, name, what)
    if name in FUNCTIONS:
        functions = {function.__name__: function for function in FUNCTIONS[name]}
        return _replaced(method, name, choose(functions, value, f"{what}: {name}"))
    try:
        return _replaced(method, name, type(now)(value))
    except ValueError:
        raise InputError(
            f"{what}: {name}",
            found=repr(value),
            expected=f"a number, such as {now}",
            fix=f"write e.g. {method.name}:{name}={now}",
        ) from None


def _replaced(method: Any, name: str, value: Any) -> Any:
    if hasattr(method, name):
        return dataclasses.replace(method, **{name: value})
    parts = {field.name: getattr(method, field.name) for field in dataclasses.fields(method)}
    changed = {
        key: _replaced(part, name, value)
        for key, part in parts.items()
        if dataclasses.is_dataclass(part) and name in _settings(part)
    }
    return dataclasses.replace(method, **changed)
