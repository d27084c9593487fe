"""How long a query takes here, beside a plain PyTorch policy of the same shapes and the roofline.

    python -m benchmarks.latency --config configs/semanticvla_libero.py:small [FILE ...]
        [--precision float32,bfloat16,bfloat16+int8] [--torch PYTHON] [--calls 200] [--set KEY=JSON]

A query is what a robot waits for: raw camera images and state in, actions on the host out. Weights
are random and created on the device; images are new for every query and the same for all. Ours and
PyTorch's (benchmarks/plain_torch: timm towers, Hugging Face's Llama, SDPA) are processes that take
turns in blocks of a few calls, in alternating order. PyTorch computes everything anew for every
query (`eager`), and keeps what depends on the instruction alone, as ours does (`instruction kept`).
`--torch` names a Python that has torch, timm, transformers and Pillow; without it, ours is measured
alone. The roofline is the longer of FLOPs / product rate and weight bytes / copy rate for encoders,
language model and the rest, with the best rates that either side reaches in this run.

Last line, of the first configuration and precision: `[ratio=...] roofline_ratio=...`, the quickest
PyTorch's median over ours, and ours over the roofline.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from typing import Any

import jax

from benchmarks import roofline
from benchmarks.latency import contest, printed
from benchmarks.latency.rounds import measure
from benchmarks.latency.worker import Ended, Worker
from semanticvla_jax.errors import InputError, exit_on_input_error


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config", nargs="+", default=["configs/semanticvla_libero.py:small"], metavar="FILE")
    add(
        "--precision",
        default="float32",
        help="DTYPE[+WEIGHTS], separated by commas",
    )
    add("--torch", metavar="PYTHON")
    add("--compile_mode", default="", help="of torch.compile; none leaves it out")
    add("--calls", type=int, default=200, help="of each contestant")
    add("--block", type=int, default=10, help="calls of one contestant in a row")
    add("--warm_up", type=int, default=10, help="calls of each contestant that do not count")
    add("--stage_calls", type=int, default=20)
    add("--instruction", default="pick up the alphabet soup and place it in the basket")
    add("--set", action="append", default=[], metavar="KEY=JSON")
    return parser.parse_args(argv)


@exit_on_input_error
def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    jax.config.update("jax_platforms", "cpu")  # this process counts; the device is the workers'
    changes = {
        key: json.loads(value) for key, value in (pair.split("=", 1) for pair in arguments.set)
    }
    last_lines = []
    for name in arguments.config:
        for precision in arguments.precision.split(","):
            one = contest.Contest(name, changes, precision, arguments.instruction)
            last_lines.append(compare(one, arguments))
            print(flush=True)
    print(last_lines[0])


def compare(one: contest.Contest, arguments: argparse.Namespace) -> str:
    """Measures and prints one configuration at one precision; what its last line says."""
    query = one.query()
    with contextlib.ExitStack() as stack:
        workers = start(one, arguments, stack)
        print(printed.heading(one.name, one.precision, query, workers), flush=True)
        contestants = {
            f"{side} {call}".strip(): (worker, call)
            for side, worker in workers.items()
            for call in worker.about["calls"]
        }
        times = measure(contestants, arguments.calls, arguments.block, arguments.warm_up)
        rates = ask_all(workers, "ceilings")
        stages = ask_all(workers, "stages", count=arguments.stage_calls)
    best = (max(side[what] for side in rates.values()) for what in ("copy", "product"))
    machine = roofline.machine(*best)
    least = query.seconds(machine)
    sections = (
        printed.ceilings(rates),
        printed.bound(query, machine),
        printed.queries(times, least),
        printed.stages(stages),
    )
    print("\n\n".join(sections))
    return printed.last_line(times, least)


def start(
    one: contest.Contest, arguments: argparse.Namespace, stack: contextlib.ExitStack
) -> dict[str, Worker]:
    """Both sides, one started after the other; only ours where the other cannot be."""
    workers = {contest.OURS: stack.enter_context(contest.our_worker(one))}
    try:
        workers[contest.OURS].ready()
    except Ended as ended:
        raise InputError(
            "our side",
            found=str(ended),
            expected="a policy that answers",
            fix="see its message above",
        ) from None
    if not arguments.torch:
        print("PyTorch is not measured: no --torch")
        return workers
    torch = stack.enter_context(contest.torch_worker(one, arguments.torch, arguments.compile_mode))
    try:
        about = torch.ready()
    except Ended as ended:
        print(f"PyTorch is not measured: {ended}; see its message above")
        return workers
    for call, reason in about["failed"].items():
        print(f"PyTorch {call} is not measured: {reason}")
    return {**workers, contest.TORCH: torch}


def ask_all(workers: dict[str, Worker], order: str, **given: Any) -> dict[str, Any]:
    return {side: worker.ask(order, **given) for side, worker in workers.items()}


if __name__ == "__main__":
    main()
