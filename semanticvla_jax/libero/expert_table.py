"""Prints how often the scripted expert succeeds, per task and per suite.

python -m semanticvla_jax.libero.expert_table --suites libero_object,libero_spatial
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from semanticvla_jax.errors import InputError
from semanticvla_jax.libero.suites import MAX_STEPS, SUITES, Task, find_task, suite_tasks

PLACEMENTS = ("official", "jittered", "sampled")


@dataclass(frozen=True)
class Episode:
    """One run of the expert: steps until success or the end of the plan, reasons of failures."""

    succeeded: bool
    steps: int
    failures: tuple[str, ...]


def placement_of(kind: str, index: int):
    """Official state `index`, the same with jitter, or a jittered draw of the task's sampler."""
    from semanticvla_jax.libero import placement

    if kind == "official":
        return placement.Official(index)
    if kind == "jittered":
        return placement.JitteredOfficial(index, seed=index)
    return placement.Sampled(seed=index, jitter=placement.Jitter())


def run_episode(env, placement, noise: float, seed: int) -> Episode:
    """One episode without images; `noise`: standard deviation of white noise on the actions."""
    from semanticvla_jax.libero.expert import ScriptedExpert

    env.reset(placement)
    rng = np.random.default_rng(seed)
    disturbance = noise * np.array([1.0, 1.0, 1.0, 0.4, 0.4, 0.4, 0.0])
    expert = ScriptedExpert(env, np.random.default_rng(seed))
    step = 0
    limit = MAX_STEPS[env.task.suite]
    for step, action in enumerate(expert.actions(), start=1):
        if env.step(np.clip(action + disturbance * rng.normal(size=7), -1.0, 1.0)):
            return Episode(True, step, tuple(expert.failures))
        if step == limit:
            return Episode(False, step, (*expert.failures, "out of steps"))
    return Episode(False, step, (*expert.failures, "plan ended"))


def run_task(job: tuple[Task, tuple[int, ...], str, float]) -> tuple[Task, list[Episode]]:
    from semanticvla_jax.libero.env import LiberoEnv

    task, indices, kind, noise = job
    env = LiberoEnv(task)
    try:
        return task, [run_episode(env, placement_of(kind, i), noise, i) for i in indices]
    finally:
        env.close()


def run_jobs(jobs: list, workers: int) -> Iterator[tuple[Task, list[Episode]]]:
    if workers == 1:
        yield from map(run_task, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap(run_task, jobs)


def row(label: str, episodes: Iterable[Episode]) -> str:
    episodes = list(episodes)
    successes = [episode.steps for episode in episodes if episode.succeeded]
    steps = f"{np.mean(successes):5.0f}" if successes else "    -"
    return f"{label[:74]:<74} {len(successes):>4}/{len(episodes):<4} {steps}"


def print_table(results: Iterable[tuple[Task, list[Episode]]], start: int) -> None:
    print(f"{'task':<74} {'success':>9} {'steps':>5}")
    by_suite: dict[str, list[Episode]] = {}
    for task, episodes in results:
        by_suite.setdefault(task.suite, []).extend(episodes)
        print(row(f"{task.suite} {task.index} {task.name}", episodes), flush=True)
        for index, episode in enumerate(episodes, start=start):
            if not episode.succeeded:
                print(f"    episode {index}: {'; '.join(episode.failures)}", flush=True)
    for suite, episodes in by_suite.items():
        print(row(f"TOTAL {suite}", episodes))


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suites", default="libero_object,libero_spatial", help=", ".join(SUITES))
    parser.add_argument("--tasks", default="", help="task indices or names; default: all")
    parser.add_argument("--episodes", type=int, default=10, help="per task")
    parser.add_argument("--start", type=int, default=0, help="first initial state or seed")
    parser.add_argument("--placement", choices=PLACEMENTS, default=PLACEMENTS[0])
    parser.add_argument("--noise", type=float, default=0.0, help="std of white action noise on xyz")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    episodes = tuple(range(arguments.start, arguments.start + arguments.episodes))
    try:
        jobs = [
            (task, episodes, arguments.placement, arguments.noise)
            for suite in arguments.suites.split(",")
            for task in (
                [find_task(suite, name) for name in arguments.tasks.split(",")]
                if arguments.tasks
                else suite_tasks(suite)
            )
        ]
        print_table(run_jobs(jobs, arguments.workers), arguments.start)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
