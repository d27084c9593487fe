"""Episodes of one policy with one method, run by the evaluation's own command."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.accelerators.contestants import NONE, methods_of
from semanticvla_jax.evaluation.report.runs import Run, read_runs
from semanticvla_jax.evaluation.results import wilson_interval

TRACE_EVERY = 25  # episodes of a task; of the policy without methods
BAD_INPUT = 2  # exit code of a command that says what is wrong with what it was told


def folder(arguments: argparse.Namespace, label: str, method: str) -> Path:
    """Of a row's results."""
    name = method.replace(":", "_").replace("=", "")
    return arguments.out / label / f"{name}_{arguments.placement}"


def run(arguments: argparse.Namespace, label: str, checkpoint: str, method: str) -> None:
    """Runs what is missing of a row's episodes; says so where the method does not suit the policy.

    Raises:
      SystemExit: the evaluation failed.
    """
    out = folder(arguments, label, method)
    command = [sys.executable, "-m", "semanticvla_jax.evaluate", "--checkpoint", checkpoint]
    command += ["--suite", arguments.suite, "--tasks", arguments.tasks]
    command += ["--episodes", str(arguments.episodes), "--placement", arguments.placement]
    command += ["--seed", str(arguments.seed), "--execute", str(arguments.execute)]
    command += ["--workers", str(arguments.workers), "--out", str(out)]
    if method == NONE:
        command += ["--trace_every", str(TRACE_EVERY)]
    else:
        command += ["--accelerate", methods_of(method)]
    if arguments.max_steps:
        command += ["--max_steps", str(arguments.max_steps)]
    if arguments.typical:
        command += ["--typical", arguments.typical]
    # Programs that an earlier piece of the same row compiled are not compiled again.
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(arguments.out.resolve() / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    print(f"\n=== {label}, {method}", flush=True)
    code = subprocess.run(command, env={**os.environ, **cache}, check=False).returncode
    if code == BAD_INPUT and method != NONE:
        print(f"{label} goes without {method}", flush=True)
    elif code:
        raise SystemExit(f"the evaluation of {label} with {method} failed; rerun to continue")


def read(arguments: argparse.Namespace, label: str, method: str) -> Run | None:
    """The row's episodes; None where there are none yet."""
    out = folder(arguments, label, method)
    if not (out / "identity.json").is_file():
        return None
    found = read_runs([out])[0]
    return found if found.finished else None


def success(found: Run, suite: str | None = None) -> tuple[int, int, float, float]:
    """(successes, episodes, 95 % Wilson interval) of one suite or all."""
    rows = [row for row in found.finished if suite in (None, row["suite"])]
    successes = sum(row["success"] for row in rows)
    return successes, len(rows), *wilson_interval(successes, len(rows))


def calls(found: Run) -> float:
    """Of the policy, mean per episode."""
    return float(np.mean([len(row["latency_ms"]) for row in found.finished]))


def steps(found: Run) -> float:
    """Mean per episode."""
    return float(np.mean([row["steps"] for row in found.finished]))


def skipped_seconds(found: Run) -> float:
    """That extrapolating took instead of calls, mean per episode."""
    return float(np.mean([sum(row.get("skipped_ms", ())) for row in found.finished])) / 1000


def tokens(found: Run) -> float | None:
    """Image tokens that got through, mean per call; None where no method chooses any."""
    counts = [count for row in found.finished for count in row.get("tokens", ())]
    return float(np.mean(counts)) if counts else None


def slots(found: Run) -> Counter[tuple[int, ...]]:
    """How many calls took which program."""
    return Counter(tuple(taken) for row in found.finished for taken in row.get("slots", ()))


def traces(runs: Sequence[Run | None]) -> list[Path]:
    """One traced episode of each suite, the first there is."""
    found: dict[str, Path] = {}
    for one in filter(None, runs):
        for row in one.finished:
            path = one.trace(row)
            if path is not None:
                found.setdefault(row["suite"], path)
    return list(found.values())
