"""Imports one or several checkpoints at once: towers from one, the decoder from another."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flax import linen as nn

from semanticvla_jax.errors import InputError
from semanticvla_jax.weights import settings
from semanticvla_jax.weights.formats.format import Format
from semanticvla_jax.weights.formats.registry import find_format, may_stay_fresh
from semanticvla_jax.weights.rules import Report, Rule, Target, plan
from semanticvla_jax.weights.streaming import Progress, stream


@dataclasses.dataclass(frozen=True)
class Opened:
    """Checkpoints opened together, as if they were one.

    Attributes:
      arrays: foreign name -> array; names start with 'FORMAT:' where there are several checkpoints.
      rules: of all of them.
      formats: in the order given.
      differences: {"FORMAT: setting": (the model's, the checkpoint's)}, see settings.py.
      statistics: of the first that has some.
    """

    arrays: Mapping[str, Any]
    rules: Sequence[Rule]
    formats: Sequence[Format]
    differences: Mapping[str, tuple[Any, Any]]
    statistics: Mapping[str, Any] | None


def open_checkpoints(requests: Sequence[tuple[str, Path]], model: nn.Module) -> Opened:
    """Opens (format name, path) pairs for import into a model; reads no values.

    Raises:
      InputError: an unknown format, one named twice, or a path that holds no such checkpoint.
    """
    names = [name for name, _ in requests]
    if not names or len(set(names)) < len(names):
        raise InputError(
            "checkpoints to import",
            found=", ".join(names) or "none",
            expected="one or more, each format once",
            fix="give --from FORMAT --src PATH for each",
        )
    arrays, rules, formats, differences, statistics = {}, [], [], {}, None
    for name, path in requests:
        each = find_format(name)
        source = each.open(path, model)
        prefix = f"{name}:" if len(names) > 1 else ""
        arrays |= {prefix + key: array for key, array in source.arrays.items()}
        rules += [
            dataclasses.replace(rule, source=f"{re.escape(prefix)}(?:{rule.source})")
            for rule in each.rules(model)
        ]
        formats.append(each)
        found = settings.differences(model, source.settings)
        differences |= {f"{name}: {key}": values for key, values in found.items()}
        statistics = statistics or source.statistics
    return Opened(arrays, rules, formats, differences, statistics)


def refuse_differences(differences: Mapping[str, tuple[Any, Any]]) -> None:
    """Raises InputError where a checkpoint assumes another model than the configured one."""
    if differences:
        raise InputError(
            "settings that no shape shows",
            found="; ".join(told(differences)),
            expected="what the checkpoint was trained with",
            fix="set them in the model's configuration, or accept them with --accept_differences",
        )


def told(differences: Mapping[str, tuple[Any, Any]]) -> list[str]:
    """A sentence for each difference."""
    return [
        f"{key} is {ours!r} in the model, {theirs!r} in the checkpoint"
        for key, (ours, theirs) in differences.items()
    ]


def plan_import(opened: Opened, shapes: Mapping) -> tuple[list[Target], Report]:
    """What fills each parameter; see `rules.plan`."""
    fresh = may_stay_fresh(opened.formats)
    targets, report = plan(opened.arrays, opened.rules, shapes, fresh=fresh)
    _refuse_half_adapters(report)
    return targets, report


def load(
    opened: Opened, shapes: Mapping, shardings: Mapping, progress: Progress
) -> tuple[dict, Report]:
    """The parameters as sharded arrays, without fresh ones; see `streaming.stream`."""
    fresh = may_stay_fresh(opened.formats)
    return stream(opened.arrays, opened.rules, shapes, shardings, fresh=fresh, progress=progress)


def size_changes(targets: Sequence[Target], opened: Opened) -> dict[str, tuple[tuple, tuple]]:
    """{our name: (foreign shape, ours)} of arrays that were resampled or extended."""
    changes = {}
    for target in targets:
        if len(target.pieces) == 1:
            given = tuple(opened.arrays[target.pieces[0].name].shape)
            if math.prod(given) != math.prod(target.shape):
                changes[target.name] = given, target.shape
    return changes


def _refuse_half_adapters(report: Report) -> None:
    """One factor of an adapter without the other would silently become no adapter at all."""
    halves = [
        name
        for name in report.fresh
        if name.endswith(("/lora_a", "/lora_b"))
        and name[:-1] + {"a": "b", "b": "a"}[name[-1]] in report.used
    ]
    if halves:
        raise InputError(
            "adapters",
            found=f"{len(halves)} with one factor only; lacking e.g. {halves[0]}",
            expected="both factors of each",
            fix="copy the checkpoint again",
        )
