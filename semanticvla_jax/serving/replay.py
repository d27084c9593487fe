"""Asks a server for the actions of a recorded episode: a robot's side of the stack without a robot.

    python -m semanticvla_jax.serving.replay --url ws://127.0.0.1:8000 --dataset PATH --episode 0

Prints how long answers took and how far they are from what was recorded, in the robot's units.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semanticvla_jax.client.errors import ServingError
from semanticvla_jax.client.pacing import Rate
from semanticvla_jax.client.policy_client import PolicyClient
from semanticvla_jax.data.episodes import EpisodeSource
from semanticvla_jax.data.images import decode_jpeg
from semanticvla_jax.data.sources import open_datasets
from semanticvla_jax.errors import InputError, exit_on_input_error
from semanticvla_jax.robots import RobotSpec, find_robot


@dataclass(frozen=True)
class Recorded:
    """One episode of a dataset, T steps, as the robot lived it.

    Attributes:
      source: its dataset.
      robot: whose cameras, state and actions.
      first: the frame it starts with.
      actions: f32[T, A] in the controller's units.
      instruction: its sentence.
    """

    source: EpisodeSource
    robot: RobotSpec
    first: int
    actions: np.ndarray
    instruction: str

    def observation(self, step: int) -> dict:
        frame = self.first + step
        images = map(decode_jpeg, self.source.jpegs(frame))
        return {
            **dict(zip(self.robot.camera_names, images, strict=True)),
            "state": self.source.states[frame],
            "instruction": self.instruction,
        }


@dataclass(frozen=True)
class Replayed:
    """What came back for Q questions.

    Attributes:
      latency: f[Q], seconds from question to answer.
      error: f[Q, K, A], |answered - recorded|; NaN after the episode's end.
    """

    latency: np.ndarray
    error: np.ndarray


def open_episode(path: str | Path, robot: RobotSpec, number: int) -> Recorded:
    """Episode `number` of the datasets at or below `path`, counted through them all.

    Raises:
      InputError: no such dataset or episode.
    """
    sources = open_datasets(path, robot)
    total = sum(source.episode_count for source in sources)
    if not 0 <= number < total:
        raise InputError(
            f"episode of {path}",
            found=number,
            expected=f"0 to {total - 1}",
            fix="change --episode",
        )
    for source in sources:
        if number < source.episode_count:
            break
        number -= source.episode_count
    first, end = source.episode_start[number : number + 2]
    gripper = robot.gripper
    actions = gripper.to_environment(gripper.to_training(source.actions[first:end]))
    return Recorded(source, robot, int(first), actions, source.instructions[number])


def replay(client: PolicyClient, episode: Recorded, every: int = 1, hertz: float = 0) -> Replayed:
    """Asks at every `every`-th step.

    Args:
      client: to ask with.
      episode: to replay.
      every: steps between questions.
      hertz: control steps per second; 0 asks as fast as it is answered.
    """
    latency, errors, rate = [], [], Rate(hertz / every) if hertz else None
    for step in range(0, len(episode.actions), every):
        observation = episode.observation(step)
        began = time.perf_counter()
        answered = client.infer(observation)
        latency.append(time.perf_counter() - began)
        error = np.full(answered.shape, np.nan)
        recorded = episode.actions[step : step + len(answered)]
        error[: len(recorded)] = np.abs(answered[: len(recorded)] - recorded)
        errors.append(error)
        if rate:
            rate.wait()
    return Replayed(np.array(latency), np.array(errors))


def report(replayed: Replayed, robot: RobotSpec) -> str:
    """A table of errors by dim, then one line of latencies."""
    chunk = np.nanmean(replayed.error, axis=(0, 1))
    first = replayed.error[:, 0].mean(axis=0)
    width = max(map(len, robot.action_names))
    lines = [f"{'mean |error|':{width}}   first   chunk  unit"]
    for dim, name in enumerate(robot.action_names):
        unit = robot.action[dim].unit
        lines.append(f"{name:{width}}  {first[dim]:6.4f}  {chunk[dim]:6.4f}  {unit}")
    p50, p99 = 1e3 * np.percentile(replayed.latency, (50, 99))
    lines.append(
        f"queries={len(replayed.latency)} p50_ms={p50:.1f} p99_ms={p99:.1f} "
        f"first_error={first.mean():.4f} chunk_error={chunk.mean():.4f}"
    )
    return "\n".join(lines)


@exit_on_input_error
def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="semanticvla_jax.serving.replay", description=__doc__)
    add = parser.add_argument
    add("--url", default="ws://127.0.0.1:8000")
    add("--dataset", required=True, help="RLDS or LeRobot dataset, or a directory of several")
    add("--episode", type=int, default=0)
    add("--every", type=int, default=1, help="steps between questions")
    add("--hertz", type=float, default=0, help="control steps per second; 0: as fast as it goes")
    arguments = parser.parse_args(argv)
    try:
        with PolicyClient(arguments.url, api_key=os.environ.get("SEMANTICVLA_API_KEY")) as client:
            robot = find_robot(client.metadata["robot"])
            episode = open_episode(arguments.dataset, robot, arguments.episode)
            print(f"{client.metadata['policy']}, {len(episode.actions)} steps of", end=" ")
            print(f"{episode.source.name}: {episode.instruction!r}", flush=True)
            replayed = replay(client, episode, max(1, arguments.every), arguments.hertz)
    except ServingError as error:
        raise SystemExit(f"error: {error}") from None
    print(report(replayed, robot))


if __name__ == "__main__":
    main()
