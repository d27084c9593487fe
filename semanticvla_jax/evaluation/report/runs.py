"""Results directories as the report reads them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from semanticvla_jax.errors import InputError
from semanticvla_jax.evaluation.results import read_results, row_key, summarize
from semanticvla_jax.libero.suites import SUITES

Row = dict[str, Any]
# What older versions did not write.
_ABSENT = {"latency_ms": [], "render_ms": [], "batch": [], "steps": 0, "attempt": 1}


@dataclass(frozen=True)
class Run:
    """One evaluation.

    Attributes:
      name: distinguishes it from the report's other runs.
      directory: of its results.
      identity: what was evaluated, and how.
      rows: of all attempts, with every field the report reads.
    """

    name: str
    directory: Path
    identity: dict[str, Any]
    rows: tuple[Row, ...]

    @cached_property
    def finished(self) -> tuple[Row, ...]:
        """One row per episode that has a result."""
        return tuple(row for row in self.rows if row["status"] == "ok")

    @cached_property
    def failures(self) -> tuple[Row, ...]:
        return tuple(row for row in self.finished if not row["success"])

    @cached_property
    def errors(self) -> tuple[Row, ...]:
        """Attempts that ended in an error; they are no failures."""
        return tuple(row for row in self.rows if row["status"] != "ok")

    @cached_property
    def summary(self) -> dict[str, Any]:
        """As in `summary.json`, of the rows there are now."""
        return summarize(self.rows, self.identity)

    @cached_property
    def outcomes(self) -> dict[tuple, bool]:
        """Success by `pairing_key`."""
        return {pairing_key(row): row["success"] for row in self.finished}

    def video(self, row: Row) -> Path | None:
        return self._file(row, "video", "videos", ".mp4")

    def trace(self, row: Row) -> Path | None:
        return self._file(row, "trace", "traces", ".npz")

    def _file(self, row: Row, field: str, folder: str, suffix: str) -> Path | None:
        """The file a row names, or the one that the evaluation writes for it; None if absent."""
        placement = "_".join(_base(row).split(":")[:2])
        usual = f"{folder}/{row['suite']}_{row['task']}_{placement}{suffix}"
        name = str(row.get(field) or usual)
        return self.directory / name if name in self._files else None

    @cached_property
    def _files(self) -> set[str]:
        """Files in the directory's folders, so that no row can name one elsewhere."""
        paths = self.directory.glob("*/*")
        return {f"{path.parent.name}/{path.name}" for path in paths if path.is_file()}


def pairing_key(row: Row) -> tuple:
    """(suite, task, placement, seed): what two runs' episodes share that start alike.

    Without the perturbation, so that a perturbed run is paired with one that is not.
    """
    return row["suite"], row["task"], _base(row), row["seed"]


def placement_kind(row: Row) -> str:
    """'official' of 'official:3', 'jittered perturbed' of 'jittered:3:777:...|light=1:777'."""
    base, perturbed, _ = str(row["placement"]).partition("|")
    return base.partition(":")[0] + (" perturbed" if perturbed else "")


def placement_index(row: Row) -> int | None:
    """Number of the initial state, if the placement has one."""
    number = (_base(row).split(":") + [""])[1]
    return int(number) if number.isdecimal() else None


def placement_list(rows: Iterable[Row]) -> str:
    """'official 0, 3; jittered 1', of rows of one task."""
    kinds: dict[str, list[str]] = {}
    for row in rows:
        index = placement_index(row)
        name = str(row["placement"]) if index is None else str(index)
        kinds.setdefault(placement_kind(row), []).append(name)
    return "; ".join(f"{kind} {', '.join(names)}" for kind, names in kinds.items())


def suite_order(suite: str) -> tuple[int, str]:
    """Sorts suites as the benchmark does."""
    return (SUITES.index(suite) if suite in SUITES else len(SUITES)), suite


def _base(row: Row) -> str:
    """The placement without its perturbation."""
    return str(row["placement"]).partition("|")[0]


def read_runs(directories: Sequence[str | Path]) -> list[Run]:
    """Reads results, which may still be written to.

    Raises:
      InputError: no directory, one twice, or one that holds no readable results.
    """
    paths = [Path(directory).resolve() for directory in directories]
    if not paths or len(set(paths)) < len(paths):
        raise InputError(
            "results directories",
            found=", ".join(map(str, directories)) or "none",
            expected="one or more, each once",
            fix="pass the --out of each evaluation once",
        )
    return [_read(path, name) for path, name in zip(paths, _short_names(paths), strict=True)]


def _read(path: Path, name: str) -> Run:
    identity, rows = read_results(path)
    for number, row in enumerate(rows, start=1):
        if row["status"] == "ok" and not isinstance(row.get("success"), bool):
            raise InputError(
                f"results file {path / 'rows.jsonl'}",
                found=f"row {number} is a result without success",
                expected="true or false under 'success'",
                fix="repair or delete that line",
            )
    tidy = tuple({**_ABSENT, "task_name": f"task {row['task']}", **row} for row in rows)
    results = {row_key(row): row for row in tidy if row["status"] == "ok"}
    errors = [row for row in tidy if row["status"] != "ok"]
    return Run(name, path, identity, (*results.values(), *errors))


def _short_names(paths: Sequence[Path]) -> list[str]:
    """The last parts of each path, as many as it takes to tell all apart."""
    for parts in range(1, max(len(path.parts) for path in paths)):
        names = ["/".join(path.parts[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def is_unresolved(run: Run, error: Row) -> bool:
    """Whether the episode of a failed attempt has no result."""
    return pairing_key(error) not in run.outcomes
