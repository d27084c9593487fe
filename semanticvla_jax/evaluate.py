"""Evaluates a policy in LIBERO.

    python -m semanticvla_jax.evaluate --checkpoint DIR --suite libero_object --tasks 0,3 \
        --episodes 20 --out DIR

Writes DIR/rows.jsonl (a row per episode), summary.json, videos and traces; rerunning the same
command continues. Crashes of the simulator are error rows and tried again, never failures. Several
machines: --shard 0/4 to 3/4, each with its own --out, then `semanticvla_jax.merge_results`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from semanticvla_jax.errors import exit_on_input_error
from semanticvla_jax.evaluation.arguments import (
    check_episodes,
    chosen_policy,
    chosen_tasks,
    parse_arguments,
)
from semanticvla_jax.evaluation.contestants import Contestant
from semanticvla_jax.evaluation.plan import (
    describe,
    job_key,
    parse_shard,
    plan_jobs,
    shard_of,
    write_plan,
)
from semanticvla_jax.libero.availability import available, check_available
from semanticvla_jax.libero.boot import boot
from semanticvla_jax.libero.perturbations import parse_perturbation
from semanticvla_jax.libero.suites import Task


@exit_on_input_error
def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    tasks = chosen_tasks(arguments.suite, arguments.tasks)
    check_episodes(arguments.episodes)
    evaluate(arguments, tasks, chosen_policy(arguments))


def evaluate(
    arguments: argparse.Namespace, tasks: Sequence[Task], contestant: Contestant
) -> dict[str, Any]:
    """Runs what is missing and returns the summary; exits with 1 if episodes stay unfinished."""
    assets = boot(arguments.assets)
    from semanticvla_jax.evaluation.engine import run_jobs
    from semanticvla_jax.evaluation.pools import make_pool
    from semanticvla_jax.evaluation.results import ResultLog, write_summary

    if arguments.tasks == "available":
        tasks = available(tasks, assets)
    check_available(tasks, assets)
    perturbation = parse_perturbation(arguments.perturb)
    planned = plan_jobs(
        tasks,
        arguments.episodes,
        placement=arguments.placement,
        seed=arguments.seed,
        directory=Path(arguments.out),
        perturbation=perturbation,
        video_every=arguments.video_every,
        trace_every=arguments.trace_every,
    )
    mine = shard_of(planned, *parse_shard(arguments.shard))
    label = contestant.identity["policy"]
    log = ResultLog(
        arguments.out, {**contestant.identity, **protocol(arguments, assets, perturbation)}
    )
    write_plan(log.directory / "plan.jsonl", label, planned)
    jobs = [job for job in mine if not log.is_finished(**job_key(label, job))]
    print(
        f"{len(jobs)} of {len(mine)} episodes to run, {label}, "
        f"{arguments.placement} placements, {assets.kind} assets {assets.digest}",
        flush=True,
    )
    if jobs:
        pool = make_pool(arguments, assets, contestant, len(jobs))
        record(run_jobs(pool, jobs, retries=arguments.retries), log, label, len(jobs))
    summary = write_summary(log.directory, log.identity, log.rows)
    if summary["unfinished"]:
        sys.exit(f"{summary['unfinished']} episodes ended in errors; rerun to try them again")
    return summary


def record(results, log, label: str, total: int) -> None:
    """Appends (job, result) pairs to the log as they come, and shows progress."""
    with tqdm(total=total, unit="episode", mininterval=2) as progress:
        for job, result in results:
            log.append({**describe(label, job), **result})
            if result["status"] == "error":
                progress.write(f"error in {job.task.name} {job.placement.key}: {result['error']}")
            else:
                progress.update()
            successes = sum(row.get("success", False) for row in log.rows)
            progress.set_postfix(success=successes, refresh=False)


def protocol(arguments: argparse.Namespace, assets, perturbation) -> dict[str, Any]:
    """What, besides the policy, two evaluations must share to be compared."""
    packages = {"mujoco": "mujoco", "robosuite": "robosuite", "libero": "hf-libero"}
    return {
        "placement": arguments.placement,
        **({"perturbation": perturbation.strengths} if perturbation.strengths else {}),
        "rendering": arguments.rendering,
        "render_backend": os.environ["MUJOCO_GL"],
        "controller": "OSC_POSE",
        "assets": {"kind": assets.kind, "digest": assets.digest},
        "versions": {name: importlib.metadata.version(dist) for name, dist in packages.items()},
        "max_steps": arguments.max_steps,
    }


if __name__ == "__main__":
    main()
