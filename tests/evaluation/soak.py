"""Many episodes while simulators and the policy raise, hang and die at random.

    python -m tests.evaluation.soak --episodes 500 [--real]

Every episode must end in a row, with the outcome of an undisturbed run, and the evaluating process
must not grow. Last line: `episodes=500 rows_ok=... errors=... rss_growth=...MB`.
"""

from __future__ import annotations

import argparse
import functools
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import psutil

from semanticvla_jax.evaluation.batching import Batcher
from semanticvla_jax.evaluation.engine import run_jobs
from semanticvla_jax.evaluation.local import LocalPool, ThisProcess
from semanticvla_jax.evaluation.plan import job_key
from semanticvla_jax.evaluation.results import ResultLog, read_results
from semanticvla_jax.evaluation.runner import Job, Setup
from tests.evaluation.fakes import FakeEnv, FakePolicy, ForwardAgent, jobs, make_agent, strike

FAULTS = {"exception": 0.04, "exit": 0.02, "hang": 0.01}  # per attempt of an episode
POLICY_FAULTS = {"exception": 0.001, "exit": 0.001, "hang": 0.0005}  # per batch
TASKS = 5


def maybe_strike(chances: dict[str, float]) -> None:
    fault = random.choices([*chances, None], [*chances.values(), 1 - sum(chances.values())])[0]
    if fault:
        strike(fault)


class RandomFaults:
    """Wraps an environment; fails before the first step of unlucky episodes."""

    def __init__(self, env):
        self._env, self._fresh = env, False

    def __getattr__(self, name: str):
        return getattr(self._env, name)

    def reset(self, placement) -> None:
        self._fresh = True
        self._env.reset(placement)

    def step(self, action) -> bool:
        if self._fresh:
            maybe_strike(FAULTS)
        self._fresh = False
        return self._env.step(action)


class UnreliablePolicy(FakePolicy):
    def answer(self, queries):
        maybe_strike(POLICY_FAULTS)
        return super().answer(queries)


def faulty(make_env, job: Job, image_size: int) -> RandomFaults:
    return RandomFaults(make_env(job, image_size))


def fake_setups(episodes: int) -> tuple[list[Job], Setup, Setup]:
    """(jobs, undisturbed, disturbed)."""
    reliable = Setup(FakeEnv, make_agent, FakePolicy, 24)
    disturbed = Setup(functools.partial(faulty, FakeEnv), make_agent, UnreliablePolicy, 24)
    return jobs(TASKS, episodes // TASKS), reliable, disturbed


def real_setups(episodes: int) -> tuple[list[Job], Setup, Setup]:
    """Eight steps of a robot that moves forward, in LIBERO."""
    from semanticvla_jax.evaluation.scenes import LiberoScenes
    from semanticvla_jax.libero.boot import boot
    from semanticvla_jax.libero.placement import JitteredOfficial
    from semanticvla_jax.libero.rendering import FAST
    from semanticvla_jax.libero.suites import find_task

    scenes = LiberoScenes(boot("generated"), FAST)
    todo = [
        Job(find_task("libero_object", task), JitteredOfficial(index % 50, index // 50))
        for task in range(TASKS)
        for index in range(episodes // TASKS)
    ]
    disturbed = Setup(functools.partial(faulty, scenes), ForwardAgent, None, 8)
    return todo, Setup(scenes, ForwardAgent, None, 8), disturbed


def resident() -> float:
    """MB of this process."""
    return psutil.Process().memory_info().rss / 2**20


def left_behind() -> int:
    """How many processes are still there but those that Python keeps for as long as it runs."""
    commands = [" ".join(process.cmdline()) for process in psutil.Process().children(True)]
    kept = ("resource_tracker", "forkserver")
    return sum(not any(name in command for name in kept) for command in commands)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--episodes", type=int, default=500)
    add("--workers", type=int, default=2)
    add("--timeout", type=float, default=20, help="seconds of silence that mean a process hangs")
    add("--retries", type=int, default=5)
    add("--real", action="store_true", help="short episodes in LIBERO instead of stand-ins")
    arguments = parser.parse_args()
    todo, undisturbed, disturbed = (real_setups if arguments.real else fake_setups)(
        arguments.episodes
    )
    expected = {
        job: result["actions_digest"]
        for job, result in run_jobs(ThisProcess(undisturbed), todo, retries=0)
    }
    pool = LocalPool(disturbed, arguments.workers, Batcher(0.002), arguments.timeout)
    with tempfile.TemporaryDirectory() as folder:
        log, memory = ResultLog(folder, {"policy": "soak"}), []
        for job, result in run_jobs(pool, todo, retries=arguments.retries):
            log.append({**job_key("soak", job), "task_name": job.task.name, **result})
            if result["status"] == "ok" and result["actions_digest"] != expected[job]:
                sys.exit(f"{job} ended differently from an undisturbed run")
            memory.append(resident())
        _, rows = read_results(Path(folder))
    errors = Counter(row["error_type"] for row in rows if row["status"] == "error")
    finished = sum(row["status"] == "ok" for row in rows)
    print(f"errors by kind: {dict(errors)}; processes left behind: {left_behind()}")
    growth = memory[-1] - memory[len(memory) // 5]  # the first fifth warms up
    print(
        f"episodes={len(todo)} rows_ok={finished} errors={errors.total()} rss_growth={growth:.1f}MB"
    )
    if finished != len(todo) or left_behind():
        sys.exit(1)


if __name__ == "__main__":
    main()
