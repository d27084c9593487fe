"""The evaluation's command line: what was asked for, checked."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from semanticvla_jax.errors import InputError
from semanticvla_jax.evaluation.batching import check_sizes
from semanticvla_jax.evaluation.contestants import (
    EXPERT,
    Contestant,
    checkpoint_policy,
    no_checkpoint,
)
from semanticvla_jax.evaluation.plan import PLACEMENTS
from semanticvla_jax.inference import options as inference
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
    add(
        "--dataset",
        help="whose normalisation to use, if the policy was trained on several; default: each "
        "suite's own",
    )
    add(
        "--policy",
        default="checkpoint",
        choices=POLICIES,
        help="untrained: the checkpoint's architecture with fresh parameters",
    )
    add("--execute", type=int, help="actions per query; default: the whole chunk")
    add(
        "--accelerate",
        default="",
        help="methods and settings, such as vla_pruner:drop=0.75,sp_vla; docs/accelerators.md",
    )
    add("--typical", help="demonstrations for efficient_vla; default: those of the training")
    add("--sentence", help="said to the policy instead of the task's own, to see if it listens")
    add = parser.add_argument_group("what").add_argument
    add("--suite", required=True, help="one or several, separated by commas")
    add(
        "--tasks",
        default="all",
        help="indices or names, separated by commas; all (default), or "
        "available: those whose objects the assets have",
    )
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
    inference.add_arguments(add)
    add("--policies", type=int, default=1, help="copies of the policy, with --ray")
    add("--policy_resources", default="", help="of each copy, with --ray, such as GPU=1 or TPU=4")
    return parser.parse_args(argv)


def suite_names(suites: str) -> list[str]:
    return [suite.strip() for suite in suites.split(",")]


def chosen_tasks(suites: str, tasks: str) -> tuple[Task, ...]:
    """Of the command line; 'available' depends on the assets and is all until they are known."""
    names = suite_names(suites)
    if tasks in ("all", "available"):
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
        accelerate=arguments.accelerate,
        typical=arguments.typical,
        suites=suite_names(arguments.suite),
        options=inference.read_arguments(arguments),
    )
