"""How much each task's initial states vary, and what a policy without eyes scores there.

`find` reads the measured table that is part of the package; this command measured it:

python -m semanticvla_jax.libero.variation --out semanticvla_jax/libero/variation.json

Interrupted? Run it again: tasks that the file has are kept.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from semanticvla_jax.errors import InputError
from semanticvla_jax.libero.suites import Task, find_task, suite_tasks

TABLE = Path(__file__).with_name("variation.json")
FOUR_SUITES = "libero_spatial,libero_object,libero_goal,libero_10"
TRIES = 5  # states on which the expert is asked for the demonstration
JITTER_SEED = 777


@dataclass(frozen=True)
class Variation:
    """What was measured of one task.

    suite, index, task: which; `task` is its name. states: official states compared.
    goal_cm, goal_deg: how far at most an object or fixture that the goal names is from its mean
      position (horizontally, cm) and heading (degrees). goal: the same of each of them, by name:
      [root mean square cm, largest cm, largest degrees].
    others_cm: the largest such distance of everything else. drawer_cm, door_deg: the largest
      deviation of a drawer or door from its mean. arm_deg: of an arm joint, root mean square.
    source: the official state whose demonstration was replayed; None: the expert failed.
    replays: on so many other official states, and on the same ones jittered (placement.py).
    official, jittered: replays that reached the goal.
    """

    suite: str
    index: int
    task: str
    states: int
    goal_cm: float
    goal_deg: float
    goal: dict[str, list[float]]
    others_cm: float
    drawer_cm: float
    door_deg: float
    arm_deg: float
    source: int | None
    replays: int
    official: int
    jittered: int

    def __str__(self) -> str:
        """For a report's line beside the task."""
        varies = f"states vary by {self.goal_cm:.1f} cm"
        if self.source is None:
            return f"{varies}; no blind replay"
        return (
            f"{varies}; blind replay {self.official}/{self.replays}, "
            f"jittered {self.jittered}/{self.replays}"
        )


def find(suite: str, task: str | int) -> Variation | None:
    """The measured variation of a task, by its name or index; None where none was measured."""
    for variation in _package_table():
        if variation.suite == suite and str(task) in (variation.task, str(variation.index)):
            return variation
    return None


@cache
def _package_table() -> tuple[Variation, ...]:
    return read_table(TABLE)


def read_table(path: Path) -> tuple[Variation, ...]:
    """Raises: InputError: the file is no such table."""
    if not path.exists():
        return ()
    try:
        return tuple(Variation(**row) for row in json.loads(path.read_text())["tasks"])
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"table of variations {path}",
            found=f"{type(error).__name__}: {error}",
            expected="what `python -m semanticvla_jax.libero.variation` writes",
            fix="remove the file and measure again",
        ) from error


def write_table(path: Path, table: Iterable[Variation]) -> None:
    """One line per task; the file is complete at any moment."""
    rows = sorted(table, key=lambda variation: (variation.suite, variation.index))
    lines = ",\n".join(json.dumps(dataclasses.asdict(row)) for row in rows)
    partial = path.with_suffix(".partial")
    partial.write_text(f'{{"tasks": [\n{lines}\n]}}\n')
    os.replace(partial, path)


def measure(task: Task, states: int, replays: int) -> Variation:
    """Simulates `task` without images: `states` resets and 2 * `replays` + 1 episodes."""
    from semanticvla_jax.libero import initial_spread as spread
    from semanticvla_jax.libero.blind_replay import first_demonstration, replay
    from semanticvla_jax.libero.env import LiberoEnv
    from semanticvla_jax.libero.placement import JitteredOfficial, Official

    env = LiberoEnv(task)
    try:
        seen = spread.take_snapshots(env, states)
        relevant = spread.goal_things(env)
        goal = {name: dataclasses.astuple(seen.spread(name)) for name in relevant}
        arm_mean = seen.arm.mean(axis=0)
        others = [seen.spread(name).max_cm for name in seen.positions if name not in relevant]
        source, actions = first_demonstration(env, seen.most_central(relevant)[:TRIES])
        targets = [index for index in range(replays + 1) if index != source][:replays]
        scores = [0, 0]
        if actions is not None:
            jittered = [JitteredOfficial(index, JITTER_SEED) for index in targets]
            for kind, placements in enumerate(([Official(k) for k in targets], jittered)):
                scores[kind] = sum(replay(env, actions, placement) for placement in placements)
    finally:
        env.close()
    return Variation(
        suite=task.suite,
        index=task.index,
        task=task.name,
        states=states,
        goal_cm=round(max(values[1] for values in goal.values()), 2),
        goal_deg=round(max(values[2] for values in goal.values()), 1),
        goal={name: [round(value, 2) for value in values] for name, values in goal.items()},
        others_cm=round(max(others, default=0.0), 2),
        drawer_cm=round(100 * spread.largest_deviation(seen.drawers), 2),
        door_deg=round(float(np.degrees(spread.largest_deviation(seen.doors))), 1),
        arm_deg=round(float(np.degrees(spread.root_mean_square(seen.arm - arm_mean))), 2),
        source=source,
        replays=replays,
        official=scores[0],
        jittered=scores[1],
    )


def row(variation: Variation) -> str:
    label = f"{variation.suite} {variation.index} {variation.task}"
    return (
        f"{label[:66]:<66} {variation.goal_cm:7.1f} {variation.goal_deg:7.1f} "
        f"{variation.others_cm:7.1f} {variation.official:>5}/{variation.replays:<3}"
        f"{variation.jittered:>5}/{variation.replays}"
    )


def tasks_of(suite: str, names: str) -> Iterable[Task]:
    """Of a list like "0,3", or all."""
    return [find_task(suite, name) for name in names.split(",")] if names else suite_tasks(suite)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suites", default=FOUR_SUITES)
    parser.add_argument("--tasks", default="", help="task indices or names; default: all")
    parser.add_argument("--states", type=int, default=50, help="official states to compare")
    parser.add_argument("--replays", type=int, default=10, help="blind episodes of either kind")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write or complete")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    try:
        table = list(read_table(arguments.out))
        print(f"{'task':<66} {'goal cm':>7} {'deg':>7} {'others':>7} {'blind':>7} {'jittered':>9}")
        for suite in arguments.suites.split(","):
            names = (
                arguments.tasks.split(",") if arguments.tasks else range(len(suite_tasks(suite)))
            )
            for task in (find_task(suite, name) for name in names):
                done = [v for v in table if (v.suite, v.task) == (suite, task.name)]
                if not done:
                    done = [measure(task, arguments.states, arguments.replays)]
                    table += done
                    write_table(arguments.out, table)
                print(row(done[0]), flush=True)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
