"""A server's memory over as many requests as a fleet asks in hours.

    python -m benchmarks.serving.soak --requests 72000 --robots 8

Eight robots that replan at 2.5 Hz ask 72,000 times in an hour; here as fast as they are answered,
by a policy whose model takes no time (benchmarks/serving/device_time.py). Robots leave, others come
every `--seconds`. Prints the server's resident memory after each tenth. Last line: `requests=...
growth_mb=...`, the memory at the end less that after the first tenth.
"""

from __future__ import annotations

import argparse
import os

from benchmarks.serving.processes import ask, metric, server


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.serving.soak")
    parser.add_argument("--requests", type=int, default=72_000)
    parser.add_argument("--robots", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0, help="between new connections")
    arguments = parser.parse_args()
    processes = max(1, min(arguments.robots, (os.cpu_count() or 1) // 2))
    stopwatch = ["--fixed_ms", "0", "--row_ms", "0"]
    done, memory, tenth = 0, [], arguments.requests / 10
    with server("benchmarks.serving.device_time", stopwatch) as url:
        while done < arguments.requests:
            latencies, rate = ask(url, arguments.robots, arguments.seconds, processes)
            done += len(latencies)
            if done >= (len(memory) + 1) * tenth:
                memory.append(metric(url, "process_resident_memory_bytes") / 1e6)
                print(f"{done} requests, {rate:.0f}/s, {memory[-1]:.1f} MB resident", flush=True)
    print(f"requests={done} growth_mb={memory[-1] - memory[0]:.1f}")


if __name__ == "__main__":
    main()
