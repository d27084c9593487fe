"""Evaluates a policy in LIBERO.

    python -m semanticvla_jax.evaluate --checkpoint DIR --suite libero_object --tasks 0,3 \
        --episodes 20 --out DIR

Writes DIR/rows.jsonl (a row per episode), summary.json and videos; rerunning the same command
continues. Crashes of the simulator are error rows and tried again, never failures.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib.metadata
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from semanticvla_jax.errors import InputError, exit_on_input_error
from semanticvla_jax.libero.boot import boot
from semanticvla_jax.libero.suites import Task, find_task, suite_tasks

PLACEMENTS = ("official", "jittered")
POLICIES = ("checkpoint", "untrained", "expert")
OFFICIAL_STATES = 50


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="semanticvla_jax.evaluate", description="Success rate of a policy in LIBERO."
    )
    add = parser.add_argument
    add("--checkpoint", help="work directory of a training run, or one of its steps")
    add("--checkpoint_step", type=int, help="which step; default: the last")
    add("--dataset", help="whose normalisation to use, if the policy was trained on several")
    add(
        "--policy",
        default="checkpoint",
        choices=POLICIES,
        help="untrained: the checkpoint's architecture with fresh parameters",
    )
    add("--suite", required=True)
    add("--tasks", default="all", help="indices or names, separated by commas; default: all")
    add("--episodes", type=int, default=OFFICIAL_STATES, help="per task, at most 50")
    add(
        "--placement",
        default="official",
        choices=PLACEMENTS,
        help="jittered: official states with target, receptacle and arm displaced",
    )
    add("--seed", type=int, default=0, help="of the jitter and of the fixtures' placement")
    add("--execute", type=int, help="actions per query; default: the whole chunk")
    add("--sentence", help="said to the policy instead of the task's own, to see if it listens")
    add("--rendering", default="fast", choices=("fast", "original"))
    add("--assets", help="directory of LIBERO's assets; default: found or generated")
    add("--out", required=True, help="results directory")
    add("--video_every", type=int, default=0, help="film every n-th episode; 0: none")
    add("--workers", type=int, default=1, help="processes")
    add("--retries", type=int, default=2, help="further attempts after an error")
    add("--max_steps", type=int, help="step limit; default: the suite's")
    return parser.parse_args(argv)


@exit_on_input_error
def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    tasks = chosen_tasks(arguments.suite, arguments.tasks)
    check_episodes(arguments.episodes)
    policy, make_agent = chosen_policy(arguments)
    evaluate(arguments, tasks, policy, make_agent)


def evaluate(
    arguments: argparse.Namespace,
    tasks: Sequence[Task],
    policy: dict[str, Any],
    make_agent: Callable[[], Any],
) -> dict[str, Any]:
    """Runs what is missing and returns the summary; exits with 1 if episodes stay unfinished.

    Args:
      arguments: as from `parse_arguments`.
      tasks: tasks to evaluate.
      policy: JSON-able identity of the policy; its "policy" is the label in the rows.
      make_agent: picklable constructor of the agent.
    """
    assets = boot(arguments.assets)
    from semanticvla_jax.libero.parallel import Setup, run_jobs
    from semanticvla_jax.libero.rendering import RENDERINGS
    from semanticvla_jax.libero.results import ResultLog, summarize, summary_table

    identity = {**policy, **protocol(arguments, assets)}
    log = ResultLog(arguments.out, identity)
    jobs = [
        job
        for job in plan_jobs(arguments, tasks, log.directory / "videos")
        if not log.is_finished(**job_key(policy, job))
    ]
    print(
        f"{len(jobs)} of {len(tasks) * arguments.episodes} episodes to run, {policy['policy']}, "
        f"{arguments.placement} placements, {assets.kind} assets {assets.digest}",
        flush=True,
    )
    setup = Setup(make_agent, assets, RENDERINGS[arguments.rendering], arguments.max_steps)
    with tqdm(total=len(jobs), unit="episode", mininterval=2, disable=not jobs) as progress:
        results = run_jobs(setup, jobs, workers=arguments.workers, retries=arguments.retries)
        for job, result in results:
            log.append({**job_key(policy, job), "task_name": job.task.name, **result})
            if result["status"] == "ok" or result["attempt"] > arguments.retries:
                progress.update()
            if result["status"] == "error":
                progress.write(f"error in {job.task.name} {job.placement.key}: {result['error']}")
            successes = sum(row.get("success", False) for row in log.rows)
            progress.set_postfix(success=successes, refresh=False)
    summary = summarize(log.rows, identity)
    (log.directory / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    print(f"latency_ms {summary['latency_ms']}, results in {log.directory}")
    print(summary_table(summary), flush=True)
    if summary["unfinished"]:
        sys.exit(f"{summary['unfinished']} episodes ended in errors; rerun to try them again")
    return summary


def chosen_tasks(suite: str, tasks: str) -> tuple[Task, ...]:
    if tasks == "all":
        return suite_tasks(suite)
    return tuple(find_task(suite, task.strip()) for task in tasks.split(","))


def check_episodes(episodes: int) -> None:
    if not 1 <= episodes <= OFFICIAL_STATES:
        raise InputError(
            "episodes per task",
            found=episodes,
            expected=f"1 to {OFFICIAL_STATES}, the benchmark's initial states",
            fix="change --episodes",
        )


def chosen_policy(arguments: argparse.Namespace) -> tuple[dict[str, Any], Callable[[], Any]]:
    """The policy's identity and the constructor of its agent."""
    from semanticvla_jax.libero import rollout

    if arguments.policy == "expert":
        return {"policy": "expert"}, rollout.ExpertAgent
    if arguments.checkpoint is None:
        raise InputError(
            "policy to evaluate",
            found="no --checkpoint",
            expected="the --workdir of a training run",
            fix="pass --checkpoint DIR, or --policy expert",
        )
    from semanticvla_jax.training.checkpoints import open_for_reading

    checkpoints, step = open_for_reading(arguments.checkpoint, arguments.checkpoint_step)
    digest = hashlib.sha256(json.dumps(checkpoints.read_meta(step), sort_keys=True).encode())
    checkpoints.close()
    identity = {
        "policy": arguments.policy,
        "checkpoint_step": step,
        "checkpoint_digest": digest.hexdigest()[:12],
        "execute": arguments.execute,
        "dataset": arguments.dataset,
        **({"sentence": arguments.sentence} if arguments.sentence else {}),
    }
    return identity, functools.partial(
        rollout.make_policy_agent,
        os.path.abspath(arguments.checkpoint),
        step,
        arguments.dataset,
        arguments.execute,
        arguments.sentence,
        arguments.policy == "untrained",
    )


def protocol(arguments: argparse.Namespace, assets) -> dict[str, Any]:
    """What, besides the policy, two evaluations must share to be compared."""
    packages = {"mujoco": "mujoco", "robosuite": "robosuite", "libero": "hf-libero"}
    return {
        "placement": arguments.placement,
        "rendering": arguments.rendering,
        "render_backend": os.environ["MUJOCO_GL"],
        "controller": "OSC_POSE",
        "assets": {"kind": assets.kind, "digest": assets.digest},
        "versions": {name: importlib.metadata.version(dist) for name, dist in packages.items()},
        "max_steps": arguments.max_steps,
    }


def plan_jobs(arguments: argparse.Namespace, tasks: Sequence[Task], videos: Path) -> list:
    """Every episode of the evaluation, task by task."""
    from semanticvla_jax.libero.parallel import Job
    from semanticvla_jax.libero.placement import JitteredOfficial, Official

    jobs = []
    for task in tasks:
        for index in range(arguments.episodes):
            placement = (
                Official(index)
                if arguments.placement == "official"
                else JitteredOfficial(index, arguments.seed)
            )
            filmed = arguments.video_every and index % arguments.video_every == 0
            name = f"{task.suite}_{task.index}_{arguments.placement}_{index}.mp4"
            jobs.append(Job(task, placement, arguments.seed, videos / name if filmed else None))
    return jobs


def job_key(policy: dict[str, Any], job) -> dict[str, Any]:
    return {
        "policy": policy["policy"],
        "suite": job.task.suite,
        "task": job.task.index,
        "placement": job.placement.key,
        "seed": job.seed,
    }


if __name__ == "__main__":
    main()
