"""The main job, end to end: expert demonstrations -> RLDS -> training -> LIBERO evaluation.

`make demo` runs it. Each stage is one of the project's own commands, printed before it runs, and
each continues where it stopped, so an interrupted demo is continued by running it again.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

SUITE, TASK = "libero_object", 0
HELD_OUT_SEED = 777  # of the jittered placements; demonstrations are drawn from seed 1


@dataclass(frozen=True)
class Sizes:
    """How much of everything one demo does."""

    config: str
    demonstrations: int
    train_flags: tuple[str, ...]
    official: int
    jittered: int
    untrained: int
    expert: int


FULL = Sizes("configs/libero_tiny.py", 120, (), official=20, jittered=40, untrained=10, expert=20)
MINI = Sizes(
    "configs/libero_tiny.py",
    4,
    ("--config.total_steps=20", "--config.checkpoint_every=10", "--config.log_every=5"),
    official=1,
    jittered=1,
    untrained=1,
    expert=2,
)


def run(stage: str, *command: str) -> None:
    """Runs one of the project's commands; stops the demo with its message if it fails."""
    print(f"\n=== {stage}\n$ {shlex.join(('python', *command))}", flush=True)
    began = time.monotonic()
    finished = subprocess.run([sys.executable, *command], check=False)
    if finished.returncode:
        raise SystemExit(f"demo stopped: '{stage}' failed with exit code {finished.returncode}")
    print(f"--- {stage}: {time.monotonic() - began:.0f} s", flush=True)


def collect(sizes: Sizes, dataset: Path) -> None:
    run(
        "demonstrations",
        "-m", "data.libero_expert", "--suite", SUITE, "--tasks", str(TASK),
        "--episodes", str(sizes.demonstrations), "--out", str(dataset), "--workers", "2",
    )  # fmt: skip


def train(sizes: Sizes, dataset: Path, workdir: Path, stage: str, *extra: str) -> None:
    run(
        stage,
        "-m", "semanticvla_jax.train", "--config", sizes.config, "--workdir", str(workdir),
        f"--config.data.path={dataset}", *sizes.train_flags, *extra,
    )  # fmt: skip


def evaluate(name: str, root: Path, placement: str, episodes: int, flags: tuple[str, ...]) -> dict:
    """Evaluates one policy on one kind of placement; returns the overall summary."""
    results = root / f"{name}_{placement}"
    run(
        f"evaluation: {name}, {placement}",
        "-m", "semanticvla_jax.evaluate", "--suite", SUITE, "--tasks", str(TASK),
        "--placement", placement, "--episodes", str(episodes), "--workers", "2",
        "--seed", str(HELD_OUT_SEED), "--out", str(results), *flags,
    )  # fmt: skip
    return json.loads((results / "summary.json").read_text())


def contestants(sizes: Sizes, sighted: Path, blind: Path) -> dict[str, tuple]:
    """Name -> (flags of the evaluation, {placement: episodes}) of everything that is compared."""
    both = {"official": sizes.official, "jittered": sizes.jittered}
    execute = ("--execute", "2")  # of the 8 actions; the rest is decided again, with new images
    checkpoint = ("--checkpoint", str(sighted), *execute)
    return {
        "semanticvla": ((*checkpoint, "--video_every", "5"), both),
        "blind": (("--checkpoint", str(blind), *execute), both),
        "untrained": ((*checkpoint, "--policy", "untrained"), {"official": sizes.untrained}),
        "expert": (("--policy", "expert"), {"jittered": sizes.expert}),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mini", action="store_true", help="minutes instead of a real training")
    parser.add_argument("--workdir", type=Path, default=None)
    arguments = parser.parse_args()
    sizes = MINI if arguments.mini else FULL
    root = arguments.workdir or Path("runs") / ("demo_mini" if arguments.mini else "demo")
    began = time.monotonic()
    # The same assets everywhere; the originals, where they can be had, render ten times slower.
    os.environ.setdefault("SEMANTICVLA_LIBERO_ASSETS", "generated")

    dataset, sighted, blind = root / "dataset", root / "policy", root / "blind"
    collect(sizes, dataset)
    train(sizes, dataset, sighted, "training")
    train(sizes, dataset, blind, "training the blind baseline", "--config.data.cameras=blank")

    rows = {
        name: {
            placement: evaluate(name, root, placement, episodes, flags)
            for placement, episodes in placements.items()
        }
        for name, (flags, placements) in contestants(sizes, sighted, blind).items()
    }
    report(rows, time.monotonic() - began)


def report(rows: dict[str, dict[str, dict]], seconds: float) -> None:
    """Prints the table of all policies and, last, the line that machines read."""
    print(f"\n{'policy':14} {'placement':10} {'success':>8}   95 % interval")
    for name, summaries in rows.items():
        for placement, s in summaries.items():
            count = f"{s['successes']}/{s['episodes']}"
            print(f"{name:14} {placement:10} {count:>8}   {s['low']:.2f} to {s['high']:.2f}")
    print(f"took {seconds / 60:.1f} minutes")
    official, blind = rows["semanticvla"]["official"], rows["blind"]
    print(
        f"success_rate={official['success_rate']:.2f} low={official['low']:.2f} "
        f"high={official['high']:.2f} episodes={official['episodes']} task={official['tasks'][0]} "
        f"jittered={rows['semanticvla']['jittered']['success_rate']:.2f} "
        f"blind={blind['jittered']['success_rate']:.2f} "
        f"blind_official={blind['official']['success_rate']:.2f}"
    )


if __name__ == "__main__":
    main()
