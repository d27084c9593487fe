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

from semanticvla_jax.errors import InputError, exit_on_input_error
from semanticvla_jax.evaluation.batching import Batcher, check_sizes
from semanticvla_jax.evaluation.contestants import (
    EXPERT,
    Contestant,
    checkpoint_policy,
    no_checkpoint,
)
from semanticvla_jax.evaluation.plan import (
    PLACEMENTS,
    describe,
    job_key,
    parse_shard,
    plan_jobs,
    shard_of,
    write_plan,
)
from semanticvla_jax.libero.boot import boot
from semanticvla_jax.libero.perturbations import parse_perturbation
from semanticvla_jax.libero.suites import Task, find_task, suite_tasks

POLICIES = ("checkpoint", "untrained", "expert")
OFFICIAL_STATES = 50


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="semanticvla_jax.evaluate", description="Success rate of a policy in LIBERO."
    )
    add = parser.add_argument_group("who").add_argument
    add("--checkpoint", help="work directory of a training run, or one of its steps")
    add("--checkpoint_step", type=int, help="which step; default: the last")
    add("--dataset", help="whose normalisation to use, if the policy was trained on several")
    add(
        "--policy",
        default="checkpoint",
        choices=POLICIES,
        help="untrained: the checkpoint's architecture with fresh parameters",
    )
    add("--execute", type=int, help="actions per query; default: the whole chunk")
    add("--sentence", help="said to the policy instead of the task's own, to see if it listens")
    add = parser.add_argument_group("what").add_argument
    add("--suite", required=True, help="one or several, separated by commas")
    add("--tasks", default="all", help="indices or names, separated by commas; default: all")
    add("--episodes", type=int, default=OFFICIAL_STATES, help="per task, at most 50")
    add(
        "--placement",
        default="official",
        choices=PLACEMENTS,
        help="jittered: official states with target, receptacle and arm displaced",
    )
    add(
        "--perturb",
        default="",
        help="strengths 0 to 1 of camera, light, texture, distractor, state and paraphrase, "
        "such as camera=0.5,light=1",
    )
    add("--seed", type=int, default=0, help="of jitter, perturbation and fixtures' placement")
    add("--rendering", default="fast", choices=("fast", "original"))
    add("--assets", help="directory of LIBERO's assets; default: found or generated")
    add("--max_steps", type=int, help="step limit; default: the suite's")
    add("--shard", default="0/1", help="I/N: run the I-th of N parts")
    add = parser.add_argument_group("output").add_argument
    add("--out", required=True, help="results directory")
    add("--video_every", type=int, default=0, help="film every n-th episode; 0: none")
    add("--trace_every", type=int, default=0, help="trace every n-th episode; 0: none")
    add = parser.add_argument_group("how").add_argument
    add(
        "--workers",
        type=int,
        default=os.cpu_count(),
        help="simulator processes; 0: everything in this process; default: one per core",
    )
    add("--retries", type=int, default=2, help="further attempts after an error")
    add("--timeout", type=float, default=600, help="seconds of silence that mean a process hangs")
    add("--batch_sizes", help="of the policy, such as 1,4,16; default: 1 on CPU, 16 elsewhere")
    add("--batch_delay_ms", type=float, default=5, help="that a query waits for others at most")
    add("--ray", help="run on the Ray cluster at this address; local: one on this machine")
    add("--policies", type=int, default=1, help="copies of the policy, with --ray")
    add("--policy_resources", default="", help="of each copy, with --ray, such as GPU=1 or TPU=4")
    return parser.parse_args(argv)


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
    from semanticvla_jax.evaluation.results import ResultLog, write_summary

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


def make_pool(arguments: argparse.Namespace, assets, contestant: Contestant, jobs: int):
    """Where the episodes run."""
    from semanticvla_jax.evaluation.local import LocalPool, ThisProcess
    from semanticvla_jax.evaluation.runner import Setup
    from semanticvla_jax.evaluation.scenes import LiberoScenes
    from semanticvla_jax.libero.rendering import RENDERINGS

    setup = Setup(
        LiberoScenes(assets, RENDERINGS[arguments.rendering]),
        contestant.make_agent,
        contestant.make_policy,
        arguments.max_steps,
    )
    delay, workers = arguments.batch_delay_ms / 1000, min(arguments.workers, jobs)
    if arguments.ray:
        from semanticvla_jax.evaluation.ray_pool import RayPool, Resources, connect, options

        connect(arguments.ray, cpus=workers)
        resources = Resources(
            workers, arguments.policies, {"num_cpus": 1}, options(arguments.policy_resources)
        )
        return RayPool(setup, resources, delay, arguments.timeout)
    if arguments.workers == 0:
        return ThisProcess(setup)
    return LocalPool(setup, workers, Batcher(delay), arguments.timeout)


def chosen_tasks(suites: str, tasks: str) -> tuple[Task, ...]:
    names = [suite.strip() for suite in suites.split(",")]
    if tasks == "all":
        return tuple(task for suite in names for task in suite_tasks(suite))
    return tuple(find_task(suite, task.strip()) for suite in names for task in tasks.split(","))


def check_episodes(episodes: int) -> None:
    if not 1 <= episodes <= OFFICIAL_STATES:
        raise InputError(
            "episodes per task",
            found=episodes,
            expected=f"1 to {OFFICIAL_STATES}, the benchmark's initial states",
            fix="change --episodes",
        )


def chosen_policy(arguments: argparse.Namespace) -> Contestant:
    """Who is to be evaluated."""
    if arguments.policy == "expert":
        return EXPERT
    if arguments.checkpoint is None:
        raise no_checkpoint()
    sizes = arguments.batch_sizes
    return checkpoint_policy(
        arguments.checkpoint,
        step=arguments.checkpoint_step,
        dataset=arguments.dataset,
        untrained=arguments.policy == "untrained",
        execute=arguments.execute,
        sentence=arguments.sentence,
        sizes=check_sizes(sizes) if sizes else None,
    )


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
