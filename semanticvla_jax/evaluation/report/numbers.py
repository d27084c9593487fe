"""Every number of the report, JSON-able; page and text print these."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from semanticvla_jax.evaluation.report.comparison import compare, differing_settings
from semanticvla_jax.evaluation.report.official_states import blind_score, variation_of
from semanticvla_jax.evaluation.report.rerun import rerun_command
from semanticvla_jax.evaluation.report.runs import (
    Row,
    Run,
    is_unresolved,
    placement_kind,
    suite_order,
)
from semanticvla_jax.evaluation.report.speed import speed


def numbers(runs: Sequence[Run]) -> dict[str, Any]:
    """What `report.json` holds.

    Returns:
      runs: see `_run`. suites: see `_suites`. comparisons: each later run against the first, see
      `comparison.compare`. differing_settings: what the runs' identities do not share.
    """
    return {
        "runs": [_run(run) for run in runs],
        "suites": _suites(runs),
        "comparisons": [compare(runs[0], run) for run in runs[1:]],
        "differing_settings": differing_settings(runs),
    }


def _run(run: Run) -> dict[str, Any]:
    """{name, directory, changed, identity, rates, unfinished, errors, failures, speed}."""
    return {
        "name": run.name,
        "directory": str(run.directory),
        "changed": _changed(run),
        "identity": run.identity,
        **_rates(run.summary),
        "unfinished": run.summary["unfinished"],
        "errors": [
            {
                **_episode(row),
                "attempt": row["attempt"],
                "type": row.get("error_type", "unknown"),
                "error": row.get("error", "no reason was written"),
                "unresolved": is_unresolved(run, row),
            }
            for row in run.errors
        ],
        "failures": [
            {**_episode(row), "steps": row["steps"], "rerun": rerun_command(run, row)}
            for row in run.failures
        ],
        "speed": speed(run),
    }


def _suites(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """[{suite, runs: rates per run, tasks: [{task, name, runs, variation, blind}]}].

    A run's rates are None where it has no such suite or task; `blind` is {placement: [successes,
    episodes]} of a replayed demonstration, for the placements the runs used.
    """
    names = {(row["suite"], row["task"]): row["task_name"] for run in runs for row in run.rows}
    per_task = [
        {(task["suite"], task["task"]): _rates(task) for task in run.summary["per_task"]}
        for run in runs
    ]
    kinds = sorted({placement_kind(row) for run in runs for row in run.rows})

    def task_entry(suite: str, task: int) -> dict[str, Any]:
        variation = variation_of(suite, task)
        blind = {kind: blind_score(variation, kind) for kind in kinds}
        return {
            "task": task,
            "name": names[suite, task],
            "runs": [rates.get((suite, task)) for rates in per_task],
            "variation": variation,
            "blind": {kind: list(score) for kind, score in blind.items() if score},
        }

    return [
        {
            "suite": suite,
            "runs": [
                _rates(run.summary["per_suite"][suite])
                if suite in run.summary["per_suite"]
                else None
                for run in runs
            ],
            "tasks": [task_entry(*key) for key in sorted(names) if key[0] == suite],
        }
        for suite in sorted({suite for suite, _ in names}, key=suite_order)
    ]


def _rates(entry: dict[str, Any]) -> dict[str, Any]:
    names = ("successes", "episodes", "success_rate", "low", "high")
    return {name: entry[name] for name in names}


def _episode(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in ("suite", "task", "task_name", "placement", "seed")}


def _changed(run: Run) -> str | None:
    """When the last row was written, in UTC."""
    rows = run.directory / "rows.jsonl"
    if not rows.exists():
        return None
    moment = datetime.datetime.fromtimestamp(rows.stat().st_mtime, datetime.UTC)
    return moment.isoformat(timespec="minutes")
