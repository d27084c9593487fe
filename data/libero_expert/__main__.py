"""Command line of the demonstration generator; see README.md of `data/` for its arguments."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from data.libero_expert.collect import CollectionStopped
from data.libero_expert.configuration import RENDERINGS, Configuration
from data.libero_expert.generate import generate
from data.libero_expert.perturbation import Noise, parse_noise
from data.libero_expert.schedule import TooFewSuccesses
from semanticvla_jax.errors import InputError, exit_on_input_error
from semanticvla_jax.libero.suites import SUITES, find_task, suite_tasks


@exit_on_input_error
def main() -> None:
    arguments = parser().parse_args()
    logging.basicConfig(level=logging.WARNING)
    if arguments.workers < 1:
        raise InputError(
            "--workers", found=arguments.workers, expected="at least 1", fix="--workers 2"
        )
    configuration = Configuration(
        suite=arguments.suite,
        tasks=read_tasks(arguments.suite, arguments.tasks),
        episodes=arguments.episodes,
        image_size=arguments.image_size,
        jitter=read_jitter(arguments.jitter),
        seed=arguments.seed,
        rendering=arguments.rendering,
        noise=parse_noise(arguments.noise),
    )
    try:
        generate(configuration, arguments.out, arguments.workers)
    except (CollectionStopped, TooFewSuccesses) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("\ninterrupted; run the same command again to continue", file=sys.stderr)
        sys.exit(130)


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="python -m data.libero_expert",
        description="Demonstrations by the scripted expert, as a TFDS/RLDS dataset. "
        "Running the same command again continues an interrupted run.",
    )
    add = result.add_argument
    add("--suite", required=True, help=", ".join(SUITES))
    add("--tasks", required=True, help="indices or names, separated by commas, or all")
    add("--episodes", type=int, required=True, help="successful episodes per task")
    add("--out", type=Path, required=True, help="directory of the dataset")
    add("--workers", type=int, default=os.cpu_count(), help="processes (default: one per core)")
    add("--image_size", type=int, default=128, help="pixels per side (default 128)")
    add("--jitter", default="0.06",
        help="the target object moves up to this many metres from where the task's own sampler "
        "puts it, its container half as far, others a sixth; or none (default 0.06)")  # fmt: skip
    add("--seed", type=int, default=1)
    add("--rendering", default="fast", help=" or ".join(RENDERINGS) + " (default fast)")
    add("--noise", default="default",
        help="on the executed action: default, none, or name=value,... "
        f"(defaults: {Noise()})")  # fmt: skip
    return result


def read_tasks(suite: str, text: str) -> tuple[int, ...]:
    """`all`, or indices and names separated by commas -> indices in the suite, sorted."""
    if text == "all":
        return tuple(task.index for task in suite_tasks(suite))
    return tuple(sorted({find_task(suite, part.strip()).index for part in text.split(",")}))


def read_jitter(text: str) -> float | None:
    """A number of metres, or `none`."""
    try:
        return None if text == "none" else float(text)
    except ValueError:
        raise InputError(
            "--jitter",
            found=repr(text),
            expected="metres, or none",
            fix="for example --jitter 0.06",
        ) from None


if __name__ == "__main__":
    main()
