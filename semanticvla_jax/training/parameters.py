"""One mechanism selects parameters everywhere: ordered (regex, value) rules, first full match wins.

Freezing, learning rates, weight decay and sharding all use it. A parameter that no rule matches is
an error that also lists the rules that matched nothing, where a misspelt name shows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeVar

from flax.traverse_util import flatten_dict, unflatten_dict

from semanticvla_jax.errors import InputError

Value = TypeVar("Value")
Rules = Sequence[tuple[str, Value]]


def flatten(tree: dict) -> dict[str, Any]:
    """Nested dict -> {'a/b/kernel': leaf}."""
    return flatten_dict(tree, sep="/")


def unflatten(flat: dict[str, Any]) -> dict:
    """{'a/b/kernel': leaf} -> nested dict."""
    return unflatten_dict(flat, sep="/")


def match(tree: dict, rules: Rules, *, purpose: str) -> dict[str, Value]:
    """The value of the first rule whose regex matches each whole parameter name.

    Args:
      tree: nested dict of parameters (or shapes).
      rules: ordered (regex, value) pairs.
      purpose: named in the error, e.g. 'learning rate'.

    Returns:
      {'a/b/kernel': value}, one entry for each leaf.

    Raises:
      InputError: some parameter matches no rule; the message lists both sides' difference.
    """
    names = list(flatten(tree))
    compiled = [(re.compile(pattern), value) for pattern, value in rules]
    matched, unmatched = {}, []
    for name in names:
        for pattern, value in compiled:
            if pattern.fullmatch(name):
                matched[name] = value
                break
        else:
            unmatched.append(name)
    if unmatched:
        unused = [p for p, _ in rules if not any(re.fullmatch(p, name) for name in names)]
        raise InputError(
            f"{purpose} rules",
            found=f"{len(unmatched)} parameters that no rule matches, e.g. {unmatched[:5]}",
            expected=f"a match for each; rules that matched nothing: {unused}",
            fix="correct the regular expression or end the rules with ('.*', default)",
        )
    return matched


def split(tree: dict, selected: dict[str, bool]) -> tuple[dict, dict]:
    """Splits a parameter tree into (selected, rest), both nested dicts."""
    flat = flatten(tree)
    chosen = {name: leaf for name, leaf in flat.items() if selected[name]}
    rest = {name: leaf for name, leaf in flat.items() if not selected[name]}
    return unflatten(chosen), unflatten(rest)


def merge(first: dict, second: dict) -> dict:
    """The inverse of `split`."""
    return unflatten({**flatten(first), **flatten(second)})


def count(tree: dict) -> int:
    """Number of scalars in a tree of arrays or shapes."""
    return sum(int(leaf.size) for leaf in flatten(tree).values())
