"""Merges the results of shards of one evaluation.

    python -m semanticvla_jax.merge_results runs/a runs/b runs/c runs/d --out runs/all

Exits with 1 if planned episodes are missing; run their shards again, then merge again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from semanticvla_jax.errors import exit_on_input_error
from semanticvla_jax.evaluation.merge import merge
from semanticvla_jax.evaluation.results import read_results, write_summary


@exit_on_input_error
def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="semanticvla_jax.merge_results", description=__doc__)
    parser.add_argument("shards", nargs="+", type=Path, help="--out of each shard")
    parser.add_argument("--out", required=True, type=Path, help="results directory to write")
    arguments = parser.parse_args(argv)
    missing = merge(arguments.shards, arguments.out)
    identity, rows = read_results(arguments.out)
    write_summary(arguments.out, identity, rows)
    if missing:
        told = ", ".join(f"{e['suite']} {e['task']} {e['placement']}" for e in missing[:5])
        sys.exit(f"{len(missing)} planned episodes are missing: {told}, ..."[:300])


if __name__ == "__main__":
    main()
