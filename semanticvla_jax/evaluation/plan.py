"""The episodes of an evaluation, fixed before the first one runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from semanticvla_jax.errors import InputError, choose
from semanticvla_jax.evaluation.files import write_whole
from semanticvla_jax.evaluation.runner import Job
from semanticvla_jax.libero.env import Placement
from semanticvla_jax.libero.perturbations import NOTHING, Perturbation, Perturbed, perturbed
from semanticvla_jax.libero.placement import JitteredOfficial, Official
from semanticvla_jax.libero.suites import Task

# Of (initial state's index, seed).
PLACEMENTS: dict[str, Callable[[int, int], Placement]] = {
    "official": lambda index, seed: Official(index),
    "jittered": JitteredOfficial,
}


def plan_jobs(
    tasks: Sequence[Task],
    episodes: int,
    *,
    placement: str,
    seed: int,
    directory: Path,
    perturbation: Perturbation = NOTHING,
    video_every: int = 0,
    trace_every: int = 0,
) -> list[Job]:
    """Every episode, task by task.

    Args:
      tasks: to evaluate.
      episodes: of each task, from its initial states 0, 1, ...
      placement: a name in PLACEMENTS.
      seed: of the jitter, the perturbation and the fixtures' placement.
      directory: of the results.
      perturbation: of every episode.
      video_every, trace_every: film or trace every n-th episode of a task; 0 = none.
    """
    place = choose(PLACEMENTS, placement, "--placement")

    def file(kind: str, every: int, name: str, suffix: str) -> Path | None:
        wanted = every and index % every == 0
        return directory / kind / f"{name}{suffix}" if wanted else None

    jobs = []
    for task in tasks:
        for index in range(episodes):
            name = f"{task.suite}_{task.index}_{placement}_{index}"
            jobs.append(
                Job(
                    task,
                    perturbed(place(index, seed), perturbation, index, seed),
                    seed,
                    video=file("videos", video_every, name, ".mp4"),
                    trace=file("traces", trace_every, name, ".npz"),
                )
            )
    return jobs


def describe(policy: str, job: Job) -> dict[str, Any]:
    """What a row says of its job: the key, the task's name, the strengths of perturbations."""
    strengths = job.placement.perturbation.strengths if isinstance(job.placement, Perturbed) else {}
    return {
        **job_key(policy, job),
        "task_name": job.task.name,
        **({"perturbation": strengths} if strengths else {}),
    }


def job_key(policy: str, job: Job) -> dict[str, Any]:
    """What names the job's row: `results.KEY_FIELDS`."""
    return {
        "policy": policy,
        "suite": job.task.suite,
        "task": job.task.index,
        "placement": job.placement.key,
        "seed": job.seed,
    }


def write_plan(path: Path, policy: str, jobs: Sequence[Job]) -> None:
    """Lists the keys of all jobs, of every shard, in a JSONL file."""
    write_whole(path, "".join(json.dumps(describe(policy, job)) + "\n" for job in jobs))


def read_plan(path: Path) -> list[dict[str, Any]]:
    """What `write_plan` wrote; nothing where there is no such file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def parse_shard(text: str) -> tuple[int, int]:
    """'1/4' -> (1, 4).

    Raises:
      InputError: anything else.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    index, count = map(int, match.groups()) if match else (0, 0)
    if not index < count:
        raise InputError(
            "--shard",
            found=text,
            expected="I/N with I from 0 to N - 1, such as 0/4",
            fix="number the shards from 0",
        )
    return index, count


def shard_of(jobs: Sequence[Job], index: int, count: int) -> list[Job]:
    """The index-th of `count` parts of nearly equal size; neighbours stay together."""
    return list(jobs[len(jobs) * index // count : len(jobs) * (index + 1) // count])
