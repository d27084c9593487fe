"""One episode of an agent in a LIBERO environment, and the agents that evaluation knows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from semanticvla_jax.errors import InputError
from semanticvla_jax.libero.env import LiberoEnv, Placement
from semanticvla_jax.libero.suites import MAX_STEPS


class Agent(Protocol):
    """Turns what it observes into actions.

    Attributes:
      camera_size: side (px) of the images it wants from the simulator.
      latencies: seconds that each query of the current episode took, rendering excluded.
    """

    camera_size: int
    latencies: list[float]

    def start_episode(self, env: LiberoEnv, instruction: str) -> None: ...

    def act(self, env: LiberoEnv) -> np.ndarray:
        """f[n, 7] simulator actions to execute open loop; n = 0 gives up."""
        ...


class PolicyAgent:
    """Queries a policy, executes the first `execute` actions of its chunk, then queries again."""

    def __init__(self, policy, execute: int | None = None, sentence: str | None = None):
        """Asks `policy`.

        Args:
          execute: actions per query; None means the whole chunk, as in the OpenVLA-OFT protocol.
          sentence: said instead of each task's own, to see whether the policy listens.

        Raises:
          InputError: `execute` is not between 1 and the policy's chunk length.
        """
        execute = policy.chunk if execute is None else execute
        if not 1 <= execute <= policy.chunk:
            raise InputError(
                "actions to execute per query",
                found=execute,
                expected=f"1 to {policy.chunk}, the policy's chunk length",
                fix="change --execute",
            )
        self.policy, self.execute, self.sentence = policy, execute, sentence
        self.camera_size = policy.camera_size
        self.latencies: list[float] = []
        self._compiled = False

    def start_episode(self, env: LiberoEnv, instruction: str) -> None:
        self.instruction, self.latencies = self.sentence or instruction, []

    def act(self, env: LiberoEnv) -> np.ndarray:
        observation = {**env.observe(), "instruction": self.instruction}
        if not self._compiled:  # keeps compilation out of the latencies
            self.policy.infer(observation)
            self._compiled = True
        began = time.perf_counter()
        actions = np.asarray(self.policy.infer(observation))
        self.latencies.append(time.perf_counter() - began)
        return actions[: self.execute]


class ExpertAgent:
    """The scripted expert, which sees the simulator's state instead of images."""

    camera_size = 128

    def __init__(self):
        self.latencies: list[float] = []

    def start_episode(self, env: LiberoEnv, instruction: str) -> None:
        from semanticvla_jax.libero.expert import ScriptedExpert

        self.latencies = []
        self._actions = ScriptedExpert(env, np.random.default_rng(0)).actions()

    def act(self, env: LiberoEnv) -> np.ndarray:
        began = time.perf_counter()
        action = next(self._actions, None)
        self.latencies.append(time.perf_counter() - began)
        return np.empty((0, 7)) if action is None else np.asarray(action)[None]


def make_policy_agent(
    checkpoint: str,
    step: int | None,
    dataset: str | None,
    execute: int | None,
    sentence: str | None,
    untrained: bool,
) -> PolicyAgent:
    """The agent of a checkpoint, or of its architecture with fresh parameters."""
    from semanticvla_jax.policy import load_policy

    policy = load_policy(checkpoint, step=step, dataset=dataset, untrained=untrained)
    return PolicyAgent(policy, execute, sentence)


@dataclass(frozen=True)
class Episode:
    """How an episode ended. `steps` excludes the settle steps; `latencies` are seconds."""

    success: bool
    steps: int
    latencies: tuple[float, ...]


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
    env.reset(placement)
    agent.start_episode(env, env.instruction)
    steps, success = 0, False
    while steps < limit and not success:
        actions = agent.act(env)[: limit - steps]
        if len(actions) == 0:
            break
        for action in actions:
            success = env.step(action)
            steps += 1
            after_step(env)
            if success:
                break
    return Episode(success, steps, tuple(agent.latencies))


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
