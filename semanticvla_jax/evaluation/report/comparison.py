"""Two runs side by side: overall, per suite and per task."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from semanticvla_jax.evaluation.report.runs import Run, suite_order
from semanticvla_jax.evaluation.report.statistics import (
    Difference,
    false_discovery_rates,
    paired_difference,
    unpaired_difference,
)

Outcomes = dict[tuple, bool]  # by (suite, task, placement, seed)


def compare(first: Run, second: Run) -> dict[str, Any]:
    """The second run against the first, JSON-able.

    Paired over the episodes that both finished (same suite, task, placement and seed), if these
    are at least half of what either finished; else unpaired over the tasks that both have.

    Returns:
      {first, second, paired, left_out: finished episodes of either that are not compared,
      overall, suites, tasks}; the latter are lists of scopes as `_scope` returns them. p-values
      of the tasks come with `p_adjusted`, because among many tasks some differ by chance.
    """
    shared = first.outcomes.keys() & second.outcomes.keys()
    fewer = min(len(first.outcomes), len(second.outcomes))
    paired = 2 * len(shared) >= fewer > 0
    common = shared if paired else _of_common_tasks(first.outcomes, second.outcomes)
    pair = [
        {key: run.outcomes[key] for key in run.outcomes.keys() & common} for run in (first, second)
    ]
    test = _paired if paired else _unpaired

    def scopes(part: Callable[[tuple], Any]) -> list[dict[str, Any]]:
        values = sorted({part(key) for key in common}, key=_in_order)
        return [_scope(value, part, pair, test) for value in values]

    tasks = scopes(lambda key: key[:2])
    for task, p in zip(tasks, false_discovery_rates([task["p"] for task in tasks]), strict=True):
        task["p_adjusted"] = p
    return {
        "first": first.name,
        "second": second.name,
        "paired": paired,
        "left_out": [
            len(run.outcomes) - len(part) for run, part in zip((first, second), pair, strict=True)
        ],
        "overall": next(iter(scopes(lambda key: ())), None),
        "suites": scopes(lambda key: key[:1]),
        "tasks": tasks,
    }


def differing_settings(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Entries of the identities, by dotted name, that not all runs share: one value per run."""
    flat = [dict(_flatten(run.identity)) for run in runs]
    names = sorted({name for entries in flat for name in entries})
    values = {name: [entries.get(name) for entries in flat] for name in names}
    return {name: row for name, row in values.items() if len(set(map(json.dumps, row))) > 1}


def _scope(value: tuple, part: Callable, pair: list[Outcomes], test: Callable) -> dict[str, Any]:
    """One line of a comparison, of the outcomes whose `part` is `value`.

    Returns:
      {suite and task as far as `value` names them, successes and episodes: [first's, second's],
      both, first_only, second_only, neither if paired, the fields of `Difference`}.
    """
    first, second = ({k: v for k, v in outcomes.items() if part(k) == value} for outcomes in pair)
    counts, difference = test(first, second)
    return {
        **dict(zip(("suite", "task"), value, strict=False)),
        "successes": [sum(first.values()), sum(second.values())],
        "episodes": [len(first), len(second)],
        **counts,
        **dataclasses.asdict(difference),
    }


def _in_order(scope: tuple) -> tuple:
    return (suite_order(scope[0]), *scope[1:]) if scope else ()


def _paired(first: Outcomes, second: Outcomes) -> tuple[dict[str, int], Difference]:
    outcomes = [(first[key], second[key]) for key in first]
    names = ("both", "first_only", "second_only", "neither")
    kinds = ((True, True), (True, False), (False, True), (False, False))
    counts = {name: outcomes.count(kind) for name, kind in zip(names, kinds, strict=True)}
    return counts, paired_difference(**counts)


def _unpaired(first: Outcomes, second: Outcomes) -> tuple[dict[str, int], Difference]:
    sides = [(sum(side.values()), len(side)) for side in (first, second)]
    return {}, unpaired_difference(*sides)


def _of_common_tasks(first: Outcomes, second: Outcomes) -> set[tuple]:
    tasks = {key[:2] for key in first} & {key[:2] for key in second}
    return {key for key in first.keys() | second.keys() if key[:2] in tasks}


def _flatten(entries: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in entries.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
