"""Our parameters under foreign names: import rules read backwards, values computed when written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from semanticvla_jax.errors import InputError
from semanticvla_jax.weights.derived import Derived
from semanticvla_jax.weights.layouts import Layout
from semanticvla_jax.weights.rules import SHOWN, Rule

ADAPTER = r".*/lora_[ab]"


def export(params: Mapping, rules: Sequence[Rule]) -> dict[str, Derived]:
    """Our parameter tree -> foreign name: array, the inverse of `rules.convert`.

    Fused products are split, stacked layers separated. Each value is fetched from its device and
    laid out only when it is read.

    Args:
      params: nested dict of arrays.
      rules: those of an import; they must be able to write (see `Rule` and `Layout.backward`).

    Raises:
      InputError: parameters that the rules have no name for, or one name for two of them.
    """
    written: dict[str, Derived] = {}
    unnamed, twice = [], []
    for ours, leaf in flatten_dict(params, sep="/").items():
        for name, index in _layers(ours, leaf):
            pieces = _pieces(name, rules)
            unnamed += [] if pieces else [name]
            for i, (foreign, layout) in enumerate(pieces):
                twice += [foreign] if foreign in written else []
                written[foreign] = _piece(leaf, index, i, len(pieces), layout)
    _refuse(unnamed, "parameters of ours have no name in this layout")
    _refuse(twice, "names would be written twice")
    return written


def refuse_adapters(params: Mapping, layout: str) -> None:
    """Raises InputError where a layout without adapters would be given some."""
    adapters = [n for n in flatten_dict(params, sep="/") if re.fullmatch(ADAPTER, n)]
    if adapters:
        raise InputError(
            f"export to the layout '{layout}'",
            found=f"{len(adapters)} adapter factors, e.g. {adapters[0]}",
            expected="none: this layout has no place for adapters, and they are never dropped",
            fix="fold them into the kernels with --merge_lora, or export with --to semanticvla",
        )


def _layers(ours: str, leaf: Any) -> Iterator[tuple[str, Any]]:
    """(name, index) of each layer of a stacked parameter; (name, ...) of any other."""
    stacked = re.fullmatch(r"(.*/|)layers/(.*)", ours)
    if stacked is None:
        yield ours, ...
        return
    for i in range(leaf.shape[0]):
        yield f"{stacked[1]}layers_{i}/{stacked[2]}", i


def _pieces(name: str, rules: Sequence[Rule]) -> list[tuple[str, Layout]]:
    """(foreign name, layout) of each part that one of ours becomes; first rule wins."""
    pieces: dict[int, tuple[str, Layout]] = {}
    for rule in rules:
        if foreign := rule.foreign(name):
            pieces.setdefault(rule.part, (foreign, rule.layout))
    return [pieces[i] for i in sorted(pieces)]


def _piece(leaf: Any, index: Any, i: int, parts: int, layout: Layout) -> Derived:
    """Part `i` of `parts` of `leaf[index]`, in the foreign layout."""
    if layout.backward is None:
        raise ValueError("this layout loses information on the way in: it cannot be written")

    def laid_out(array: np.ndarray) -> np.ndarray:
        return layout.backward(np.split(array, parts, axis=-1)[i] if parts > 1 else array)

    blank = np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape)[index]
    shape = laid_out(blank).shape
    return Derived(shape, np.dtype(leaf.dtype), lambda: laid_out(np.asarray(leaf[index])))


def _refuse(names: Sequence[str], what: str) -> None:
    if names:
        raise InputError(
            "exported weights",
            found=f"{len(names)} {what}: {', '.join(names[:SHOWN])}",
            expected="one foreign name for each parameter",
            fix="choose a layout that holds the whole model, e.g. --to semanticvla",
        )
