"""Evaluation results: one JSONL row per episode, written once and for good, and their summary."""

from __future__ import annotations

import json
import logging
import math
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from semanticvla_jax.errors import InputError
from semanticvla_jax.evaluation.files import take_lock, write_whole
from semanticvla_jax.libero import variation

KEY_FIELDS = ("policy", "suite", "task", "placement", "seed")
_Z_95 = 1.959963984540054

_log = logging.getLogger(__name__)


class ResultLog:
    """The rows of one evaluation directory.

    `rows.jsonl` only ever grows, by whole rows that have reached the disk when `append` returns;
    `identity.json` says what was evaluated and how.
    """

    def __init__(self, directory: str | Path, identity: dict[str, Any]):
        """Opens or creates the directory.

        Args:
          directory: where results live.
          identity: JSON-able description of policy, assets and settings.
        Raises:
          InputError: the directory holds results of another identity, another process writes to
            it, or it is damaged other than by a half-written last row.
        """
        self.directory, self.identity = Path(directory), identity
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise InputError(
                "results directory",
                found=f"a file on the way: {error.filename}",
                expected="a directory, or a name that is free",
                fix="choose another --out",
            ) from error
        self._lock = take_lock(self.directory)
        self.path = self.directory / "rows.jsonl"
        _check_identity(self.directory / "identity.json", identity)
        _drop_half_written(self.path)
        self.rows = read_rows(self.path)
        self._finished = {row_key(row) for row in self.rows if row["status"] == "ok"}

    def is_finished(self, **key: Any) -> bool:
        """Whether an episode with these KEY_FIELDS has a result (an error is none)."""
        return row_key(key) in self._finished

    def append(self, row: dict[str, Any]) -> None:
        """Adds a row; returns when it is on the disk."""
        if row_key(row) in self._finished:
            raise ValueError(f"episode {row_key(row)} has a result already")
        with self.path.open("ab") as file:
            file.write(json.dumps(row).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.rows.append(row)
        if row["status"] == "ok":
            self._finished.add(row_key(row))


def read_results(directory: str | Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(identity, rows) of a results directory, which may still be written to.

    Raises:
      InputError: it is none, or it is damaged.
    """
    path = Path(directory) / "identity.json"
    if not path.is_file():
        raise InputError(
            f"results directory {directory}",
            found="no identity.json",
            expected="a directory that semanticvla_jax.evaluate wrote",
            fix="pass its --out",
        )
    return json.loads(path.read_text()), read_rows(path.with_name("rows.jsonl"))


def row_key(row: dict[str, Any]) -> tuple:
    return tuple(row[field] for field in KEY_FIELDS)


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """95 % Wilson score interval of a success probability; (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    rate, z2 = successes / trials, _Z_95**2
    centre = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    spread = rate * (1 - rate) / trials + z2 / (4 * trials**2)
    half = _Z_95 / (1 + z2 / trials) * math.sqrt(spread)
    # The bounds enclose the rate; rounding must not undo that where they touch it.
    return max(0.0, min(rate, centre - half)), min(1.0, max(rate, centre + half))


def summarize(rows: Iterable[dict[str, Any]], identity: dict[str, Any]) -> dict[str, Any]:
    """Counts, rates and intervals per task, per suite and overall, latency and the identity.

    Errors are not failures: `episodes` counts finished episodes, `unfinished` those that have
    only errors. `official_states`: how much those of a task vary and what a blind policy reaches
    there, in words; None where it was not measured. `mean_calls`: of the policy, per episode;
    `mean_tokens`: image tokens that got through an accelerated policy, per call; None where rows
    do not tell.
    """
    rows = list(rows)
    finished = [row for row in rows if row["status"] == "ok"]
    waiting = {row_key(row) for row in rows} - {row_key(row) for row in finished}
    tasks = sorted({(row["suite"], row["task"], row["task_name"]) for row in rows})
    latencies = [value for row in finished for value in row["latency_ms"]]
    tokens = [value for row in finished for value in row.get("tokens", ())]
    percentiles = np.percentile(latencies, (50, 99)).round(2).tolist() if latencies else [None] * 2
    return {
        **_rates(finished),
        "unfinished": len(waiting),
        "errors": dict(
            Counter(row.get("error_type", "unknown") for row in rows if row["status"] == "error")
        ),
        "placement": identity.get("placement"),
        "tasks": [name for _, _, name in tasks],
        "per_task": [
            {
                "suite": suite,
                "task": index,
                "name": name,
                **_rates(row for row in finished if (row["suite"], row["task"]) == (suite, index)),
                "official_states": _official_states(suite, index),
            }
            for suite, index, name in tasks
        ],
        "per_suite": {
            suite: _rates(row for row in finished if row["suite"] == suite)
            for suite in sorted({suite for suite, _, _ in tasks})
        },
        "mean_steps": round(float(np.mean([row["steps"] for row in finished])), 1)
        if finished
        else None,
        "mean_calls": round(len(latencies) / len(finished), 1) if finished else None,
        "mean_tokens": round(float(np.mean(tokens)), 1) if tokens else None,
        "latency_ms": {"p50": percentiles[0], "p99": percentiles[1], "queries": len(latencies)},
        "identity": identity,
    }


def write_summary(
    directory: Path, identity: dict[str, Any], rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """Prints and returns the summary, and writes it to summary.json in the directory."""
    summary = summarize(rows, identity)
    write_whole(directory / "summary.json", json.dumps(summary, indent=1) + "\n")
    print(f"latency_ms {summary['latency_ms']}, results in {directory}")
    print(summary_table(summary), flush=True)
    return summary


def summary_table(summary: dict[str, Any]) -> str:
    """The summary as aligned text: a line per task, per suite if several, and overall."""
    lines = [("task", summary_cells(None))]
    lines += [
        (
            f"{task['suite']} {task['task']}: {task['name']}",
            f"{summary_cells(task)}  {task['official_states'] or ''}".rstrip(),
        )
        for task in summary["per_task"]
    ]
    if len(summary["per_suite"]) > 1:
        lines += [(suite, summary_cells(rates)) for suite, rates in summary["per_suite"].items()]
    lines.append(("overall", summary_cells(summary)))
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:{width}}  {cells}" for name, cells in lines)


def summary_cells(rates: dict[str, Any] | None) -> str:
    if rates is None:
        return f"{'success':>9}  {'rate':>5}  95 % interval"
    count = f"{rates['successes']}/{rates['episodes']}"
    if not rates["episodes"]:
        return f"{count:>9}"
    return f"{count:>9}  {rates['success_rate']:5.2f}  {rates['low']:.2f} to {rates['high']:.2f}"


def _official_states(suite: str, task: int) -> str | None:
    measured = variation.find(suite, task)
    return str(measured) if measured else None


def _rates(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    outcomes = [row["success"] for row in rows]
    successes, episodes = sum(outcomes), len(outcomes)
    low, high = wilson_interval(successes, episodes)
    return {
        "successes": successes,
        "episodes": episodes,
        "success_rate": successes / episodes if episodes else None,
        "low": low,
        "high": high,
    }


def _check_identity(path: Path, identity: dict[str, Any]) -> None:
    text = json.dumps(identity, indent=1, sort_keys=True)
    if not path.exists():
        write_whole(path, text)
        return
    stored, current = json.loads(path.read_text()), json.loads(text)
    differences = [
        f"{name}: {stored.get(name)} -> {current.get(name)}"
        for name in sorted({*stored, *current})
        if stored.get(name) != current.get(name)
    ]
    if differences:
        raise InputError(
            f"results directory {path.parent}",
            found="results of another evaluation: " + "; ".join(differences),
            expected="an empty directory or results of this very evaluation",
            fix="choose another --out",
        )


def _drop_half_written(path: Path) -> None:
    """Cuts the file after the last whole row."""
    content = path.read_bytes() if path.exists() else b""
    if content and not content.endswith(b"\n"):
        _log.warning("%s ended in a half-written row, which is dropped and run again", path)
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
            os.fsync(file.fileno())


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Whole rows of a file; none where there is no such file.

    Raises:
      InputError: something in it is no row.
    """
    content = path.read_bytes() if path.exists() else b""
    rows = []
    whole = content[: content.rfind(b"\n") + 1]
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            row = json.loads(line)
            row_key(row), row["status"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"results file {path}",
                found=f"line {number} is no result row ({error})",
                expected="one JSON object per line, as written by semanticvla_jax.evaluate",
                fix="repair or delete that line, or choose another --out",
            ) from error
        rows.append(row)
    return rows
