"""Closed-loop success of a checkpoint in one precision, by the evaluation's own command."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys


def of(arguments: argparse.Namespace, precision: str) -> str:
    """'17/20 (0.64 to 0.95)', with the 95 % Wilson interval.

    Raises:
      SystemExit: the evaluation failed.
    """
    out = arguments.out / (precision or "unquantised")
    command = [sys.executable, "-m", "semanticvla_jax.evaluate"]
    command += ["--checkpoint", arguments.checkpoint, "--suite", arguments.suite]
    command += ["--tasks", arguments.tasks, "--episodes", str(arguments.episodes)]
    command += ["--out", str(out)]
    for option in ("dtype", "execute"):
        if value := getattr(arguments, option):
            command += [f"--{option}", str(value)]
    if precision:
        command += ["--precision", precision]
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(f"the evaluation in {precision or 'full precision'} failed; rerun it")
    found = json.loads((out / "summary.json").read_text())
    return f"{found['successes']}/{found['episodes']} ({found['low']:.2f} to {found['high']:.2f})"
