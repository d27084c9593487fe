"""What quantised weights cost in accuracy, and what they save.

    python -m benchmarks.quantization --checkpoint runs/soup --suite libero_object --tasks 0 \\
        --episodes 20 --execute 2 --out runs/soup/quantization
    python -m benchmarks.quantization --config configs/semanticvla_libero.py:small

Errors are those of the actions against the unquantised policy's, in the controller's units, over
demonstrations (a checkpoint's own; --dataset) or, with --config, over noise and random weights.
Grippers whose command is a sign count how often it flips. Latency is that of whole queries at batch
1, the precisions taking turns. Success, if --episodes asks for it, is `semanticvla_jax.evaluate`'s;
an interrupted command continues.

Last line: JSON of the table.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.quantization import measure, success
from semanticvla_jax.costs.printed import aligned
from semanticvla_jax.errors import InputError, exit_on_input_error

WHAT = ("mean", "max")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quantization",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--checkpoint", help="work directory of a training run")
    add("--dataset", help="demonstrations to judge by; default: what it was trained on")
    add("--config", help="configuration with random weights, instead of a checkpoint")
    add("--dtype", default="", help="of the computation; default: the configuration's")
    add("--precisions", default="int8,int4,w8a8", help="compared with none")
    add("--observations", type=int, default=64, help="that actions are compared on")
    add("--calls", type=int, default=100, help="timed, of each precision")
    add("--suite", default="libero_object")
    add("--tasks", default="0")
    add("--episodes", type=int, default=0, help="per task, of each precision; 0: none")
    add("--execute", type=int, help="actions per query")
    add("--out", type=Path, default=Path("runs/quantization"), help="of the episodes' results")
    return parser.parse_args(argv)


@exit_on_input_error
def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(argv)
    if bool(arguments.checkpoint) == bool(arguments.config):
        raise InputError(
            "policy to quantise",
            found=f"--checkpoint {arguments.checkpoint}, --config {arguments.config}",
            expected="one of them",
            fix="name a training run or a configuration",
        )
    names = ["", *filter(None, arguments.precisions.split(","))]
    rows = measure.measure(arguments, names)
    if arguments.checkpoint and arguments.episodes:
        for row in rows:
            row["success"] = success.of(arguments, row["precision"])
    print(table(rows), flush=True)
    print(json.dumps(rows))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Of measure.measure's rows, with success where it is known."""
    kinds = [kind for kind in rows[0]["errors"]]
    head = ["precision", "MB", "ms"]
    head += [
        f"{kind} {what} ({rows[0]['errors'][kind]['unit']})" for kind in kinds for what in WHAT
    ]
    cells = [
        [
            row["precision"] or row["dtype"],
            f"{row['bytes'] / 1e6:.1f}",
            f"{1e3 * row['seconds']:.2f}",
            *(f"{row['errors'][kind][what]:.2g}" for kind in kinds for what in WHAT),
            *([row["success"]] if "success" in row else []),
        ]
        for row in rows
    ]
    return aligned([[*head, *(["success"] if "success" in rows[0] else [])], *cells])


if __name__ == "__main__":
    main()
