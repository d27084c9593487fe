"""Shows that the parity check notices wrong rules: `python -m tests.parity.mutations DIR`.

Flips the traps of traps.py one at a time and runs cases that should show them, until one does.
Prints a line per trap: the quantity that moved most, by how much, against its tolerance; where the
reference has measured the same change of a whole model's actions, both figures. Prints
`N caught, N missed` last and exits with 1 if any is missed.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.parity import registry
from tests.parity.golden import case_names
from tests.parity.precision import BFLOAT16, Float32
from tests.parity.quantities import Quantity
from tests.parity.report import worst
from tests.parity.traps import TRAPS, Trap

COLUMNS = "{:<6} {:<38} {:<34} {:<24} {:<28} {:>8} {:>9} {:>9} {:>9}"
HEADER = COLUMNS.format(
    "",
    "wrong rule",
    "flipped",
    "case",
    "what moved most",
    "by",
    "tolerance",
    "actions",
    "reference",
)
# What the reference's own lists of mutations measure.
ACTIONS = "train/predicted_actions"


class WithoutGradients(Float32):
    """Forward passes tell enough here, and compile in half the time."""

    gradients = False
    left = BFLOAT16.left


class Finding(NamedTuple):
    """What a trap did to the case that showed it best."""

    case: str
    moved: Quantity
    actions: float | None
    reference: float | None

    @property
    def caught(self) -> bool:
        """A number beyond its tolerance; a crash shows nothing."""
        return not self.moved.passed and self.moved.group != "crash"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, prog="tests.parity.mutations")
    parser.add_argument("directory", type=Path, help="folder with <case>.json and <case>.npz")
    directory = parser.parse_args(arguments).directory
    print(HEADER)
    caught = missed = 0
    for trap in TRAPS:
        finding = try_trap(directory, trap)
        print(line(trap, finding), flush=True)
        good = finding is not None and finding.caught
        caught, missed = caught + good, missed + (not good)
    print(f"{caught} caught, {missed} missed")
    return 1 if missed else 0


def try_trap(directory: Path, trap: Trap) -> Finding | None:
    """The first case that notices the trap, or the last one tried; None without any such case."""
    finding = None
    for name in cases_of(directory, trap):
        with trap.swap():
            quantities = registry.run_case(directory, name, WithoutGradients()).quantities
        # An infinite error (a shape, an order) says less than a number does.
        numbers = [q for q in quantities if np.isfinite(q.error) and not q.passed]
        actions = next((q.error for q in quantities if q.name == ACTIONS), None)
        finding = Finding(
            name, worst(numbers or quantities), actions, stated(directory, name, trap)
        )
        if finding.caught:
            break
    return finding


def cases_of(directory: Path, trap: Trap) -> list[str]:
    """Cases that should show a trap, those first whose mutations the reference has measured."""
    names = [name for name in case_names(directory) if re.match(trap.cases, name)]
    return sorted(names, key=lambda name: stated(directory, name, trap) is None)


def stated(directory: Path, name: str, trap: Trap) -> float | None:
    """How far the reference's actions moved under the same change."""
    path = directory / f"{name}_mutations.json"
    changes = json.loads(path.read_text())["changes"] if path.exists() else {}
    return changes.get(trap.reference)


def line(trap: Trap, finding: Finding | None) -> str:
    if finding is None:
        return COLUMNS.format("MISSED", trap.rule, trap.how, "no such case", *[""] * 5).rstrip()
    moved = finding.moved
    verdict = "CAUGHT" if finding.caught else "MISSED"
    numbers = f"{moved.error:.1e}", f"{moved.tolerance:.1e}"
    both = ("" if x is None else f"{x:.2e}" for x in (finding.actions, finding.reference))
    what = f"{moved.name} {moved.reason}".strip()
    return COLUMNS.format(verdict, trap.rule, trap.how, finding.case, what, *numbers, *both)


if __name__ == "__main__":
    sys.exit(main())
