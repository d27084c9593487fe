"""A robot's control loop over the network; the robot is LIBERO's simulated one.

    python -m semanticvla_jax.serve --checkpoint runs/soup --port 8000 &
    python -m semanticvla_jax.serving.libero_robot --suite libero_object --task 0

Without `--hertz` the simulated world waits for answers; with `--hertz 20` it goes on in real time,
as a real one does, and `--style background` is what keeps up.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np

from semanticvla_jax.client.chunk_runner import Background, ChunkRunner, Observation, immediate
from semanticvla_jax.client.errors import ServingError
from semanticvla_jax.client.pacing import Rate
from semanticvla_jax.client.plans import Combine, Ensemble, Hold, Newest, ServerLate
from semanticvla_jax.client.policy_client import PolicyClient
from semanticvla_jax.errors import exit_on_input_error
from semanticvla_jax.libero.env import LiberoEnv, Placement
from semanticvla_jax.libero.suites import MAX_STEPS, find_task

Infer = Callable[[Observation], np.ndarray]
Ask = Callable[[Observation], Future]


@contextlib.contextmanager
def waiting(infer: Infer) -> Iterator[Ask]:
    """Asks and waits for the answer."""
    yield immediate(infer)


@dataclass(frozen=True)
class Style:
    """How chunks become actions: how to ask, what to do with several plans, and how often."""

    asking: Callable[[Infer], contextlib.AbstractContextManager[Ask]]
    combine: Combine
    every: int


STYLES = {
    "open_loop": Style(waiting, Newest(), every=4),
    "ensemble": Style(waiting, Ensemble(), every=1),
    "background": Style(Background, Newest(), every=2),
}


def run_episode(
    env: LiberoEnv,
    placement: Placement,
    runner: ChunkRunner,
    *,
    max_steps: int,
    tick: Callable[[], None] = lambda: None,
) -> tuple[bool, int]:
    """One episode: (whether the goal was reached, control steps).

    Args:
      env: the robot.
      placement: how it starts.
      runner: decides.
      max_steps: gives up after so many.
      tick: called after each step, to wait for the next.

    Raises:
      ServerLate, ServingError: no actions came; a real robot would be stopped now.
    """

    def observe() -> dict[str, Any]:
        return {**env.observe(), "instruction": env.instruction}

    env.reset(placement)
    runner.start(observe())
    for step in range(1, max_steps + 1):
        success = env.step(runner.act(observe))
        if success:
            return True, step
        tick()
    return False, max_steps


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="semanticvla_jax.serving.libero_robot", description="A LIBERO robot over the network."
    )
    add = parser.add_argument
    add("--url", default="ws://127.0.0.1:8000")
    add("--suite", required=True)
    add("--task", default="0", help="index or name")
    add("--states", default="0", help="official initial states, separated by commas")
    add("--style", default="open_loop", choices=STYLES)
    add("--every", type=int, help="control steps between questions; default: the style's")
    add("--hertz", type=float, default=0, help="control rate; 0: the world waits for answers")
    add("--patience", type=float, default=1.0, help="s to hold still without a plan, then stop")
    return parser.parse_args(argv)


@exit_on_input_error
def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    try:
        with PolicyClient(
            arguments.url, robot="libero", api_key=os.environ.get("SEMANTICVLA_API_KEY")
        ) as client:
            act(arguments, client)
    except (ServingError, ServerLate) as error:
        raise SystemExit(f"the robot stops: {error}") from None


def act(arguments: argparse.Namespace, client: PolicyClient) -> None:
    """Runs the episodes of a command line and prints how each ended."""
    from semanticvla_jax.libero.placement import Official

    style, task = STYLES[arguments.style], find_task(arguments.suite, arguments.task)
    states, successes = arguments.states.split(","), 0
    with (
        style.asking(client.infer) as ask,
        contextlib.closing(LiberoEnv(task, image_size=client.camera_size)) as env,
    ):
        for state in states:
            runner = ChunkRunner(
                ask,
                every=arguments.every or style.every,
                when_late=Hold.on(client.metadata, arguments.patience),
                combine=style.combine,
            )
            client.start_episode()
            pace = Rate(arguments.hertz).wait if arguments.hertz else lambda: None
            success, steps = run_episode(
                env, Official(int(state)), runner, max_steps=MAX_STEPS[task.suite], tick=pace
            )
            successes += success
            print(f"state {state}: {success=} {steps=} failures={runner.failures}", flush=True)
    print(f"success={successes}/{len(states)}")


if __name__ == "__main__":
    main()
