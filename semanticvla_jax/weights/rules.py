"""Declarative import of foreign parameters: ordered rules (regex, our name, layout).

The same rules name our parameters for others: see `Rule.foreign` and export.py.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from semanticvla_jax.errors import InputError
from semanticvla_jax.weights.layouts import Layout, same

NO_RULE = "foreign parameters that no rule matches"
# Names shown of each kind of difference.
SHOWN = 8


@dataclasses.dataclass(frozen=True)
class Rule:
    r"""One family of foreign parameters.

    Attributes:
      source: regex that must match the whole foreign name. Besides escaped text it may hold
        capturing groups without inner groups, `(?:text)?` (read, never written) and
        `(?:one|other)` (both read, the first one written).
      target: our name 'a/b/kernel', with \1 ... from the regex; None ignores the parameter.
      layout: what happens to the array.
      part: position among several sources that are concatenated on the last axis of one target.
      reason: why an ignored parameter is not needed.
    """

    source: str
    target: str | None
    layout: Layout = same
    part: int = 0
    reason: str = ""

    def match(self, name: str) -> re.Match | None:
        """The match of a whole foreign name."""
        return self._pattern.fullmatch(name)

    def apply(self, name: str) -> str | None:
        """Our name of a foreign parameter whose name matches."""
        return self.match(name).expand(self.target)

    def foreign(self, ours: str) -> str | None:
        """The foreign name that is written for one of ours, or None where the rule has none."""
        if self.target is None:
            return None
        pattern, template = self._inverse
        match = pattern.fullmatch(ours)
        return match and match.expand(template)

    @functools.cached_property
    def _pattern(self) -> re.Pattern:
        return re.compile(self.source)

    @functools.cached_property
    def _inverse(self) -> tuple[re.Pattern, str]:
        """(regex of our names, template of foreign names): source and target with roles swapped."""
        written = re.sub(r"\(\?:[^()]*\)\?", "", self.source)
        written = re.sub(r"\(\?:([^()|]*)[^()]*\)", r"\1", written)
        groups = re.findall(r"\([^()]*\)", written)
        order = [int(number) for number in re.findall(r"\\(\d)", self.target)]
        if sorted(order) != list(range(1, len(groups) + 1)):
            raise ValueError(f"{self.target} does not use each group of {self.source} once")
        ours = re.sub(r"\\(\d)", lambda match: groups[int(match[1]) - 1], self.target)
        numbers = iter(range(1, len(groups) + 1))
        template = re.sub(
            r"\([^()]*\)", lambda _: f"\\{order.index(next(numbers)) + 1}", written
        ).replace(r"\.", ".")
        if re.search(r"[][(){}*+?^$|]|\\\D", template):
            raise ValueError(f"{self.source} does not say what to write")
        return re.compile(ours), template


def ignore(source: str, reason: str) -> Rule:
    """A foreign parameter that is known and not needed."""
    return Rule(source, None, reason=reason)


def locate(name: str, rules: Sequence[Rule]) -> tuple[str, Rule] | None:
    """(our name, its rule) of a foreign parameter, or None where it is ignored.

    Raises:
      InputError: no rule matches.
    """
    rule = next((r for r in rules if r.match(name)), None)
    _refuse({NO_RULE: [] if rule else [name]})
    return None if rule.target is None else (rule.apply(name), rule)


@dataclasses.dataclass(frozen=True)
class Report:
    """Foreign names by our name, reasons by ignored name, and our names left unfilled."""

    used: dict[str, list[str]]
    ignored: dict[str, str]
    fresh: list[str]


@dataclasses.dataclass(frozen=True)
class Piece:
    """One foreign parameter of a target; `layer` is its place on a stacked target's first axis."""

    name: str
    layout: Layout
    layer: int | None
    part: int


@dataclasses.dataclass(frozen=True)
class Target:
    """One of our parameters and the foreign ones that make it, by layer, then part."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    pieces: tuple[Piece, ...]

    def layers(self) -> dict[int | None, tuple[Piece, ...]]:
        """Pieces by layer; {None: pieces} where the target is not stacked."""
        return {
            layer: tuple(group)
            for layer, group in itertools.groupby(self.pieces, key=lambda piece: piece.layer)
        }


def plan(
    source: Mapping[str, Any],
    rules: Sequence[Rule],
    shapes: Mapping,
    *,
    fresh: Sequence[str] = (),
) -> tuple[list[Target], Report]:
    """What each of our parameters is made of; reads no values.

    Args:
      source: foreign name -> anything with `shape` and `dtype`.
      rules: the first whole match wins.
      shapes: nested dict of our parameters' shapes; decides whether layers are stacked.
      fresh: regexes of our names that may stay unfilled.

    Returns:
      (the targets that get filled, in the source's order; report).

    Raises:
      InputError: a foreign parameter that no rule matches, two for one place, one of ours that
        stays unfilled, or shapes that differ; the message shows both sides.
    """
    ours = flatten_dict(shapes, sep="/")
    pieces: dict[str, dict[tuple, Piece]] = {}
    ignored, unknown, rivals = {}, [], []
    for name in source:
        rule = next((r for r in rules if r.match(name)), None)
        if rule is None:
            unknown.append(name)
        elif rule.target is None:
            ignored[name] = rule.reason
        else:
            target, layer = _stacked(rule.apply(name), ours)
            piece = Piece(name, rule.layout, layer, rule.part)
            first_come = pieces.setdefault(target, {}).setdefault((layer, rule.part), piece)
            if first_come is not piece:
                rivals.append(f"{target} (from {first_come.name} and {name})")
    missing = [t for t in ours if t not in pieces and not _any_match(fresh, t)]
    surplus = [f"{t} (from {next(iter(pieces[t].values())).name})" for t in pieces if t not in ours]
    _refuse(
        {
            NO_RULE: unknown,
            "places that two foreign parameters claim": rivals,
            "not in the model": surplus,
            "parameters of the model that the source lacks": missing,
        }
    )
    targets = [_target(name, ours[name], group.values()) for name, group in pieces.items()]
    _refuse({"shapes that differ": [wrong for t in targets if (wrong := _mismatch(t, source))]})
    report = Report(
        used={target.name: [piece.name for piece in target.pieces] for target in targets},
        ignored=ignored,
        fresh=[t for t in ours if t not in pieces],
    )
    return targets, report


def fill(out: np.ndarray, source: Mapping[str, Any], pieces: Sequence[Piece]) -> None:
    """Writes the pieces of one layer into `out`, joined on the last axis, in `out`'s dtype.

    One piece is in memory at a time.
    """
    start = 0
    for piece in pieces:
        array = piece.layout(np.asarray(source[piece.name]))
        stop = start + math.prod(array.shape[-1:])
        place = out if len(pieces) == 1 else out[..., start:stop]
        place[...] = array
        start = stop
        del array  # Before the next one is read.


def convert(
    source: Mapping[str, Any],
    rules: Sequence[Rule],
    shapes: Mapping,
    *,
    fresh: Sequence[str] = (),
) -> tuple[dict, Report]:
    """Foreign parameters -> our parameter tree in host memory (onto devices: `streaming.stream`).

    Args and errors are those of `plan`, with arrays for the source's values.

    Returns:
      (nested dict of arrays in the targets' dtypes, without fresh ones; report).
    """
    targets, report = plan(source, rules, shapes, fresh=fresh)
    arrays = {target.name: np.empty(target.shape, target.dtype) for target in targets}
    for target in targets:
        whole = arrays[target.name]
        for layer, pieces in target.layers().items():
            fill(whole if layer is None else whole[layer, ...], source, pieces)
    return unflatten_dict(arrays, sep="/"), report


def _stacked(target: str, ours: Mapping) -> tuple[str, int | None]:
    """'llm/layers_3/x' -> ('llm/layers/x', 3) where the model scans over stacked layers."""
    match = re.fullmatch(r"(.*/|)layers_(\d+)/(.*)", target)
    if match and f"{match[1]}layers/{match[3]}" in ours:
        return f"{match[1]}layers/{match[3]}", int(match[2])
    return target, None


def _target(name: str, shape: Any, pieces: Iterable[Piece]) -> Target:
    ordered = sorted(pieces, key=lambda p: (-1 if p.layer is None else p.layer, p.part))
    return Target(name, tuple(shape.shape), np.dtype(shape.dtype), tuple(ordered))


def _mismatch(target: Target, source: Mapping[str, Any]) -> str | None:
    """How the shapes that the pieces will give differ from the target's, or None."""
    layers = target.layers()
    stacked = layers.keys() != {None}
    if stacked and list(layers) != list(range(target.shape[0])):
        return f"{target.name}: layers {list(layers)}, expected {target.shape[0]} from 0"
    expected = target.shape[1:] if stacked else target.shape
    for pieces in layers.values():
        found = [_shape_laid_out(piece, source[piece.name]) for piece in pieces]
        if _joined(found) != expected:
            names = ", ".join(piece.name for piece in pieces)
            return f"{target.name}: {' + '.join(map(str, found))} from {names}, expected {expected}"
    return None


def _shape_laid_out(piece: Piece, array: Any) -> tuple[int, ...] | str:
    """Shape after the piece's layout, found on one repeated zero that costs no memory."""
    blank = np.broadcast_to(np.zeros((), array.dtype), array.shape)
    try:
        return piece.layout(blank).shape
    except ValueError:
        return f"{tuple(array.shape)}, which the layout does not fit,"


def _joined(shapes: Sequence[tuple[int, ...] | str]) -> tuple[int, ...] | None:
    """Shape of arrays joined on the last axis, or None where they do not fit."""
    if len(shapes) == 1:
        return shapes[0]
    if any(isinstance(s, str) or not s or s[:-1] != shapes[0][:-1] for s in shapes):
        return None
    return shapes[0][:-1] + (sum(s[-1] for s in shapes),)


def _any_match(patterns: Sequence[str], name: str) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def _refuse(differences: Mapping[str, Sequence[str]]) -> None:
    """Raises InputError unless every kind of difference is empty; shows the first of each kind."""
    told = [
        f"{len(names)} {kind}: {', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"
        for kind, names in differences.items()
        if names
    ]
    if told:
        raise InputError(
            "imported weights",
            found="; ".join(told),
            expected="a source parameter for each of ours, and a rule for each of the source's",
            fix="check that the configuration describes this checkpoint",
        )
