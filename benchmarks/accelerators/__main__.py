"""Accelerators on trained policies: success in LIBERO, calls, tokens, FLOPs, latency, speed-up.

    python -m benchmarks.accelerators --out runs/accelerators --typical datasets/object \\
        --policies semanticvla=runs/two,openvla=runs/two_openvla,oft=runs/two_oft
    python -m benchmarks.accelerators --latency_only --config configs/semanticvla_libero.py ...

Every method and policy runs the same episodes (`semanticvla_jax.evaluate`; interrupted, the same
command continues). FLOPs are counted by tracing the programs that the calls took. Latency is that
of queries, one at a time, on the same traced episodes: methods take turns, the median of the turns
counts for each query, and what depends on the sentence alone is computed once. ms/step is latency x
calls / control steps: what the robot pays for every step it makes; speed-ups are ratios of that.
Rows join methods with '+', such as vla_pruner+sp_vla_schedule. --show prints what there is without
running anything.

With --latency_only: random weights, random images, any configuration; the smallest and the largest
program that a method may take, at several batch sizes. Meant for devices that hold the 7B shapes.
With --flops_only: their FLOPs, without allocating anything.

Last line: JSON of all judgements, latencies or FLOPs.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from semanticvla_jax.errors import InputError, exit_on_input_error

METHODS = (
    "vla_pruner,sp_vla,sp_vla_tokens,sp_vla_schedule,vla_pruner+sp_vla_schedule,random,fastv,"
    "sparsevlm,fopru,prumerge,visionzip,vla_cache,efficient_vla,adaptive"
)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accelerators",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--policies", default="", help="LABEL=DIR,...: names and their training runs")
    add("--methods", default=METHODS, help=f"compared with none; default: {METHODS}")
    add("--out", type=Path, default=Path("runs/accelerators"), help="results, kept between calls")
    add("--suite", default="libero_object,libero_spatial")
    add("--tasks", default="0", help="of each suite")
    add("--episodes", type=int, default=50, help="of each task")
    add("--placement", default="official", choices=("official", "jittered"))
    add("--seed", type=int, default=777, help="of jitter and fixtures")
    add("--execute", type=int, default=2, help="actions per query")
    add("--max_steps", type=int, help="step limit; default: the suite's")
    add("--workers", type=int, default=os.cpu_count(), help="simulator processes")
    add("--typical", help="demonstrations for efficient_vla; default: those of the training")
    add("--rounds", type=int, default=3, help="times that every traced episode is timed")
    add("--show", action="store_true", help="only what was run already")
    add("--remeasure", action="store_true", help="latencies, even if they were measured before")
    add("--flops_only", action="store_true", help="of --config, counted on any machine")
    add("--latency_only", action="store_true", help="of --config, on a machine that holds it")
    add("--config", nargs="+", default=["configs/semanticvla_libero.py"], metavar="FILE.py:WORDS")
    add("--batch", default="1,8", help="batch sizes, with --latency_only")
    add("--calls", type=int, default=50, help="of each program, with --latency_only")
    add("--dtype", default="bfloat16", help="with --latency_only")
    return parser.parse_args(argv)


@exit_on_input_error
def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(argv)
    if arguments.flops_only:
        from benchmarks.accelerators import counts

        print(json.dumps({"flops": counts.count(arguments)}))
    elif arguments.latency_only:
        from benchmarks.accelerators import shapes

        print(json.dumps({"latencies": shapes.measure(arguments)}))
    else:
        compare(arguments, read_policies(arguments.policies), arguments.methods.split(","))


def compare(
    arguments: argparse.Namespace, policies: Mapping[str, str], methods: Sequence[str]
) -> None:
    """Runs what is missing, and prints tables and judgements."""
    from benchmarks.accelerators import costs, rollouts, table
    from benchmarks.accelerators.contestants import NONE

    if not arguments.show:
        for method in (NONE, *methods):  # each for all policies, so that early pieces compare
            for label, checkpoint in policies.items():
                rollouts.run(arguments, label, checkpoint, method)
    suites, judgements = arguments.suite.split(","), []
    for label, checkpoint in policies.items():
        rows = costs.rows(arguments, label, checkpoint, methods)
        if rows:
            print(f"\n{table.printed(rows, suites)}", flush=True)
            judgements += table.judged(rows)
    print()
    for found in judgements:
        print(table.sentence(found))
    print(json.dumps({"judgements": judgements}))


def read_policies(text: str) -> dict[str, str]:
    """'a=DIR,b=DIR' -> {a: DIR, b: DIR}.

    Raises:
      InputError: something else.
    """
    pairs = [part.partition("=") for part in filter(None, text.split(","))]
    if not pairs or not all(label and directory for label, _, directory in pairs):
        raise InputError(
            "--policies",
            found=repr(text),
            expected="LABEL=DIR,...",
            fix="for example --policies semanticvla=runs/two,oft=runs/two_oft",
        )
    return {label: directory for label, _, directory in pairs}


if __name__ == "__main__":
    main()
