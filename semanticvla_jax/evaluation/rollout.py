"""One episode of an agent in a LIBERO environment."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semanticvla_jax.evaluation.agents import Agent, Asked
from semanticvla_jax.libero.env import LiberoEnv, Placement
from semanticvla_jax.libero.suites import MAX_STEPS


@dataclass(frozen=True)
class Episode:
    """How an episode went. Settle steps are not part of it.

    Attributes:
      success: the goal held after the last action.
      instruction: the environment's.
      actions: f32[T, 7], executed.
      queries: one per `act`.
      reset_seconds: the placement and the settle steps took.
    """

    success: bool
    instruction: str
    actions: np.ndarray
    queries: tuple[Asked, ...]
    reset_seconds: float

    @property
    def steps(self) -> int:
        return len(self.actions)


def run_episode(
    env: LiberoEnv,
    agent: Agent,
    placement: Placement,
    *,
    max_steps: int | None = None,
    after_step: Callable[[LiberoEnv], None] = lambda env: None,
) -> Episode:
    """Runs until the goal holds, the agent gives up or the suite's step limit is reached.

    Raises:
      InputError: the agent returned an action of wrong shape or with a value that is not finite.
    """
    limit = MAX_STEPS[env.task.suite] if max_steps is None else max_steps
    began = time.perf_counter()
    env.reset(placement)
    reset_seconds = time.perf_counter() - began
    agent.start_episode(env, env.instruction)
    done: list[np.ndarray] = []
    queries: list[Asked] = []
    success = False
    while len(done) < limit and not success:
        actions, asked = agent.act(env, len(done))
        queries.append(asked)
        if len(actions) == 0:
            break
        for action in actions[: limit - len(done)]:
            success = env.step(action)
            done.append(action)
            after_step(env)
            if success:
                break
    executed = np.array(done, np.float32).reshape(-1, 7)
    return Episode(success, env.instruction, executed, tuple(queries), reset_seconds)


class Film:
    """Collects both cameras' frames after each step and writes them as a 20 fps mp4."""

    def __init__(self, size: int = 256):
        self._size, self._frames = size, []

    def __call__(self, env: LiberoEnv) -> None:
        from semanticvla_jax.libero.env import CAMERAS

        views = [env.render(camera, self._size) for camera in CAMERAS.values()]
        self._frames.append(np.concatenate(views, axis=1))

    def write(self, path: Path) -> None:
        import imageio_ffmpeg

        path.parent.mkdir(parents=True, exist_ok=True)
        height, width, _ = self._frames[0].shape
        # The format is named because a partial file's name does not tell it.
        partial = path.with_suffix(".partial")
        writer = imageio_ffmpeg.write_frames(
            str(partial), (width, height), fps=20, macro_block_size=2, quality=7,
            output_params=["-f", "mp4"], ffmpeg_log_level="error",
        )  # fmt: skip
        writer.send(None)
        for frame in self._frames:
            writer.send(frame)
        writer.close()
        partial.replace(path)
