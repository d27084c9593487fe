"""Checks every reference case of a folder: `python -m tests.parity.check_goldens DIR`.

Prints one line per case and group of quantities (the worst one's error and tolerance), what was
left out and why, and `N passed, N failed` last. Exits with 1 on any failure: a quantity beyond its
tolerance, an output or a case that no check knows, a crash, or a folder without cases.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.parity import registry, report
from tests.parity.golden import case_names
from tests.parity.precision import FLOAT32, PRECISIONS, Precision


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, prog="tests.parity.check_goldens")
    parser.add_argument("directory", type=Path, help="folder with <case>.json and <case>.npz")
    parser.add_argument("--dtype", choices=sorted(PRECISIONS), default=FLOAT32.name)
    options = parser.parse_args(arguments)
    return check(options.directory, PRECISIONS[options.dtype])


def check(directory: Path, precision: Precision) -> int:
    """Runs all cases, prints the table; the exit status."""
    passed = failed = 0
    left: list[str] = []
    print(report.HEADER)
    for name in case_names(directory):
        if reason := registry.left_case(name, precision):
            left.append(f"left: {name}: {reason}")
            continue
        outcome = registry.run_case(directory, name, precision)
        for group in report.groups(outcome.quantities):
            print(report.line(name, group), flush=True)
            good = all(quantity.passed for quantity in group)
            passed, failed = passed + good, failed + (not good)
        left += [f"left: {name}: {output}: {reason}" for output, reason in outcome.left.items()]
    print(*left, sep="\n")
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
