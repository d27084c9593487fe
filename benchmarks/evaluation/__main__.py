"""Episodes per minute of the evaluation engine and of a plain sequential evaluator.

    python -m benchmarks.evaluation [--checkpoint DIR] [--workers 1,2,4] [--rendering fast]

The same policy, the same 40 episodes (of 8 tasks of four suites), the same step limit, the same
images. Times are those of whole commands, from start to exit: imports, loading and compiling the
policy and building environments are part of them. Every episode's executed actions are compared
bit for bit. Without --checkpoint the policy is untrained and drives into the step limit.

Last line: `ratio=X`, the engine at its best number of workers / the sequential evaluator.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def timed(*command: str) -> float:
    """Runs one of the project's modules; seconds."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", *command], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def read(path: Path) -> dict[tuple, tuple]:
    """{episode: what happened in it} of finished rows."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {
        (row["suite"], row["task"], row["placement"]): (
            row["success"],
            row["steps"],
            row["actions_digest"],
        )
        for row in rows
        if row.get("status", "ok") == "ok"
    }


def agreement(reference: dict, ours: dict) -> str:
    """How many episodes ended alike, and in how many every action was the same bit for bit."""
    assert reference.keys() == ours.keys(), "other episodes ran"
    alike = sum(reference[key][:2] == ours[key][:2] for key in reference)
    identical = sum(reference[key] == ours[key] for key in reference)
    return f"{alike}/{len(ours)} outcomes alike, {identical}/{len(ours)} action for action"


def write_policy(directory: Path, config: str) -> str:
    """An untrained checkpoint, written by a process of its own to keep JAX out of this one."""
    code = (
        "import importlib, pathlib; from benchmarks.evaluation.untrained import write_untrained;"
        f"config = importlib.import_module({config!r}).get_config();"
        f"write_untrained(config, pathlib.Path({str(directory)!r}), camera_size=256)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    return str(directory)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--checkpoint", help="default: an untrained policy of --config")
    # Its prompts have room for the longest of these suites' sentences.
    add("--config", default="configs.libero_tiny_two_suites", help="module of an untrained policy")
    add("--suite", default="libero_spatial,libero_object,libero_goal,libero_10")
    add("--tasks", default="0,7")
    add("--episodes", type=int, default=40, help="in all; spread evenly over the tasks")
    add("--max_steps", type=int, default=160, help="step limit of every episode")
    add("--rendering", default="original", choices=("fast", "original"))
    add("--workers", default="1,2,4", help="numbers of simulator processes to try")
    add("--assets", default="generated")
    arguments = parser.parse_args()
    tasks = len(arguments.suite.split(",")) * len(arguments.tasks.split(","))
    each = arguments.episodes // tasks
    if each * tasks != arguments.episodes:
        parser.error(f"{arguments.episodes} episodes cannot be spread over {tasks} tasks")
    print(
        f"{os.cpu_count()} CPU cores, {arguments.episodes} episodes of {tasks} tasks, at most "
        f"{arguments.max_steps} steps, {arguments.rendering} rendering, {arguments.assets} assets, "
        f"policy {arguments.checkpoint or 'untrained ' + arguments.config}",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        checkpoint = arguments.checkpoint or write_policy(root / "policy", arguments.config)
        flags = ["--checkpoint", checkpoint, "--suite", arguments.suite]
        flags += ["--tasks", arguments.tasks, "--episodes", str(each)]
        flags += ["--max_steps", str(arguments.max_steps), "--rendering", arguments.rendering]
        flags += ["--assets", arguments.assets, "--out"]

        seconds = timed("benchmarks.evaluation.sequential", *flags, str(root / "plain.jsonl"))
        plain, rates = 60 * arguments.episodes / seconds, {}
        reference = read(root / "plain.jsonl")
        print(f"sequential          {seconds:7.1f} s {plain:7.2f} episodes/min", flush=True)
        for workers in map(int, arguments.workers.split(",")):
            out = root / f"workers_{workers}"
            run = [*flags, str(out), "--workers", str(workers)]
            seconds = timed("semanticvla_jax.evaluate", *run)
            rates[workers] = 60 * arguments.episodes / seconds
            told = agreement(reference, read(out / "rows.jsonl"))
            print(
                f"engine, {workers:2d} worker{'s' * (workers > 1):1s}  {seconds:7.1f} s "
                f"{rates[workers]:7.2f} episodes/min, {rates[workers] / plain:5.2f}x; {told}",
                flush=True,
            )
    best = max(rates.values())
    print(f"sequential={plain:.2f} engine={best:.2f} episodes/min")
    print(f"ratio={best / plain:.2f}")


if __name__ == "__main__":
    main()
