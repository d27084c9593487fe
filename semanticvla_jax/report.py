"""One page about one or several evaluations.

    python -m semanticvla_jax.report RESULTS_DIR [RESULTS_DIR ...] --out report.html

Reads what `semanticvla_jax.evaluate` wrote, finished or not, and writes one self-contained page,
and beside it the same numbers as text and JSON (report.txt, report.json). Several runs are compared
with the first one. Films beyond --max_megabytes are linked where they lie.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from semanticvla_jax.errors import InputError, exit_on_input_error
from semanticvla_jax.evaluation.files import write_whole
from semanticvla_jax.evaluation.report.numbers import numbers
from semanticvla_jax.evaluation.report.page import render
from semanticvla_jax.evaluation.report.runs import read_runs
from semanticvla_jax.evaluation.report.text import text


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="semanticvla_jax.report", description="One page about evaluations in LIBERO."
    )
    add = parser.add_argument
    add(
        "results",
        nargs="+",
        help="--out of evaluations; the others are compared with the first",
    )
    add("--out", type=Path, required=True, help="the page, ending in .html")
    add("--title", default="Evaluation in LIBERO")
    add("--max_megabytes", type=float, default=30, help="of films, pictures and traces in the page")
    return parser.parse_args(argv)


@exit_on_input_error
def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    out = _checked(arguments.out)
    runs = read_runs(arguments.results)
    found = numbers(runs)
    page = render(runs, found, out, arguments.max_megabytes, arguments.title)
    write_whole(out, page.html)
    write_whole(out.with_suffix(".txt"), text(found))
    write_whole(out.with_suffix(".json"), json.dumps(found, indent=1) + "\n")
    print(text(found))
    size = out.stat().st_size / 1e6
    print(f"{out}: {size:.1f} MB; {page.linked} films linked, {page.omitted} traces left out")


def _checked(out: Path) -> Path:
    if out.suffix != ".html" or out.is_dir():
        raise InputError(
            "--out", found=out, expected="a file name ending in .html", fix="name the page"
        )
    return out


if __name__ == "__main__":
    main()
