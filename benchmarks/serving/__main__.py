"""Latency and throughput of a policy server by number of robots, with batches and without.

    python -m benchmarks.serving --robots 1,8,32 --seconds 10 [--fixed_ms 5 --row_ms 0.3]
    python -m benchmarks.serving --checkpoint DIR

Without a checkpoint, the model is a stopwatch (benchmarks/serving/device_time.py) and all else is
real. Server and robots are processes of this machine and share its cores. "Without" means batches
of one. Last line: `p50_ms=... p99_ms=... speedup=...`: latency of one robot, and requests/s of the
most robots with batches over without.
"""

from __future__ import annotations

import argparse
import os

import numpy as np

from benchmarks.serving.processes import ask, metric, server

BATCHES = "1,2,4,8,16,32"


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.serving")
    add = parser.add_argument
    add("--robots", default="1,8,32", help="how many ask at once, separated by commas")
    add("--seconds", type=float, default=10.0, help="per measurement")
    add("--batch_sizes", default=BATCHES)
    add("--fixed_ms", type=float, default=5.0, help="stopwatch: of a batch")
    add("--row_ms", type=float, default=0.3, help="stopwatch: of each row in it")
    add("--checkpoint", help="serve this policy instead of the stopwatch")
    arguments = parser.parse_args()
    robots = [int(count) for count in arguments.robots.split(",")]
    processes = max(1, (os.cpu_count() or 1) // 2)
    print(f"{os.cpu_count()} CPU cores; robots in at most {processes} processes")
    print(
        f"{'batches':14} {'robots':>6} {'req/s':>8} {'p50 ms':>8} {'p99 ms':>8} {'mean batch':>10}"
    )
    rates, single = {}, None
    for sizes in (arguments.batch_sizes, "1"):
        with server(*command(arguments, sizes)) as url:
            for count in robots:
                before = batches(url)
                latencies, rate = ask(url, count, arguments.seconds, min(count, processes))
                requests, computed = (
                    after - b for after, b in zip(batches(url), before, strict=True)
                )
                p50, p99 = 1e3 * np.percentile(latencies, (50, 99))
                single, rates[sizes, count] = single or (p50, p99), rate
                print(
                    f"{sizes:14} {count:6d} {rate:8.1f} {p50:8.1f} {p99:8.1f} "
                    f"{requests / computed:10.2f}",
                    flush=True,
                )
    speedup = rates[arguments.batch_sizes, robots[-1]] / rates["1", robots[-1]]
    print(f"p50_ms={single[0]:.1f} p99_ms={single[1]:.1f} speedup={speedup:.2f}")


def command(arguments: argparse.Namespace, sizes: str) -> tuple[str, list[str]]:
    """Module and arguments of the server to measure."""
    if arguments.checkpoint:
        limits = ["--rate", "1e9", "--clients", "1000", "--queue", "1000"]
        served = ["--checkpoint", arguments.checkpoint, "--batch_sizes", sizes, *limits]
        return "semanticvla_jax.serve", served
    times = ["--fixed_ms", str(arguments.fixed_ms), "--row_ms", str(arguments.row_ms)]
    return "benchmarks.serving.device_time", [*times, "--batch_sizes", sizes]


def batches(url: str) -> tuple[float, float]:
    """Requests computed so far, and in how many batches."""
    name = "semanticvla_batch_size"
    return metric(url, f"{name}_sum"), metric(url, f"{name}_count")


if __name__ == "__main__":
    main()
