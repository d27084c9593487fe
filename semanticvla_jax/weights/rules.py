"""Declarative import of foreign parameters: ordered rules (regex, our name, layout)."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from semanticvla_jax.errors import InputError

Layout = Callable[[np.ndarray], np.ndarray]


def same(x: np.ndarray) -> np.ndarray:
    return x


def transposed(x: np.ndarray) -> np.ndarray:
    """torch Linear [out, in] -> kernel [in, out]."""
    return x.T


def patch_kernel(x: np.ndarray) -> np.ndarray:
    """torch Conv2d [out, channel, row, column] -> kernel [(row column channel), out]."""
    return x.transpose(2, 3, 1, 0).reshape(-1, x.shape[0])


def first(x: np.ndarray) -> np.ndarray:
    """Drops a leading axis of one."""
    return x.reshape(x.shape[1:])


@dataclasses.dataclass(frozen=True)
class Rule:
    r"""One family of foreign parameters.

    Attributes:
      source: regex that must match the whole foreign name.
      target: our name 'a/b/kernel', with \1 ... from the regex; or a function of the match; None
        ignores the parameter.
      layout: what happens to the array.
      part: position among several sources that are concatenated on the last axis of one target.
      reason: why an ignored parameter is not needed.
    """

    source: str
    target: str | Callable[[re.Match], str] | None
    layout: Layout = same
    part: int = 0
    reason: str = ""

    def apply(self, name: str) -> str | None:
        """Our name of a foreign parameter whose name matches."""
        match = re.fullmatch(self.source, name)
        return self.target(match) if callable(self.target) else match.expand(self.target)


def ignore(source: str, reason: str) -> Rule:
    """A foreign parameter that is known and not needed."""
    return Rule(source, None, reason=reason)


def locate(name: str, rules: Sequence[Rule]) -> tuple[str, Rule] | None:
    """(our name, its rule) of a foreign parameter, or None where it is ignored.

    Raises:
      InputError: no rule matches.
    """
    rule = next((r for r in rules if re.fullmatch(r.source, name)), None)
    _raise_if([] if rule else [name], "foreign parameters that no rule matches")
    return None if rule.target is None else (rule.apply(name), rule)


@dataclasses.dataclass(frozen=True)
class Report:
    """Foreign names by our name, reasons by ignored name, and our names left unfilled."""

    used: dict[str, list[str]]
    ignored: dict[str, str]
    fresh: list[str]


def convert(
    source: Mapping[str, np.ndarray],
    rules: Sequence[Rule],
    shapes: Mapping,
    *,
    fresh: Sequence[str] = (),
) -> tuple[dict, Report]:
    """Foreign parameters -> our parameter tree.

    Args:
      source: foreign name -> array.
      rules: the first whole match wins.
      shapes: nested dict of our parameters' shapes; decides whether layers are stacked.
      fresh: regexes of our names that may stay unfilled.

    Returns:
      (nested dict of arrays in the targets' dtypes, without fresh ones; report).

    Raises:
      InputError: a foreign parameter that no rule matches, one of ours that stays unfilled, or
        shapes that differ; the message shows both sides.
    """
    targets = flatten_dict(shapes, sep="/")
    pieces: dict[str, dict[tuple, str]] = {}
    layouts: dict[str, Layout] = {}
    ignored, unknown = {}, []
    for name in source:
        rule = next((r for r in rules if re.fullmatch(r.source, name)), None)
        if rule is None:
            unknown.append(name)
        elif rule.target is None:
            ignored[name] = rule.reason
        else:
            target, layer = _stacked(rule.apply(name), targets)
            pieces.setdefault(target, {})[(layer, rule.part)] = name
            layouts[name] = rule.layout
    missing = [t for t in targets if t not in pieces and not _any_match(fresh, t)]
    surplus = [t for t in pieces if t not in targets]
    _raise_if(unknown, "foreign parameters that no rule matches")
    _raise_if([f"{t} (from {sorted(pieces[t].values())[0]})" for t in surplus], "not in the model")
    _raise_if(missing, "parameters of the model that the source lacks")
    arrays, wrong = {}, []
    for target, names in pieces.items():
        array = _assemble({key: layouts[n](np.asarray(source[n])) for key, n in names.items()})
        if array.shape != tuple(targets[target].shape):
            found = f"{target}: {array.shape} from {sorted(names.values())[0]}"
            wrong.append(f"{found}, expected {tuple(targets[target].shape)}")
        arrays[target] = array.astype(targets[target].dtype)
    _raise_if(wrong, "shapes that differ")
    report = Report(
        used={t: list(names.values()) for t, names in pieces.items()},
        ignored=ignored,
        fresh=[t for t in targets if t not in pieces],
    )
    return unflatten_dict(arrays, sep="/"), report


def _stacked(target: str, targets: Mapping) -> tuple[str, int]:
    """'llm/layers_3/x' -> ('llm/layers/x', 3) where the model scans over stacked layers."""
    match = re.fullmatch(r"(.*/|)layers_(\d+)/(.*)", target)
    if match and f"{match[1]}layers/{match[3]}" in targets:
        return f"{match[1]}layers/{match[3]}", int(match[2])
    return target, -1


def _assemble(pieces: Mapping[tuple[int, int], np.ndarray]) -> np.ndarray:
    """{(layer or -1, part): array} -> parts joined on the last axis, layers stacked in front."""
    layers = sorted({layer for layer, _ in pieces})
    joined = [
        np.concatenate([pieces[key] for key in sorted(pieces) if key[0] == layer], axis=-1)
        if sum(key[0] == layer for key in pieces) > 1
        else pieces[next(key for key in pieces if key[0] == layer)]
        for layer in layers
    ]
    return joined[0] if layers == [-1] else np.stack(joined)


def _any_match(patterns: Sequence[str], name: str) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def _raise_if(names: Sequence[str], what: str) -> None:
    if names:
        raise InputError(
            "imported weights",
            found=f"{len(names)} {what}: {list(names)[:8]}",
            expected="a source parameter for each of ours, and a rule for each of the source's",
            fix="check that the configuration describes this checkpoint",
        )
