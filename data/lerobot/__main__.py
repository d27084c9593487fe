"""Command line; the package's docstring shows it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from data.demonstrations import Demonstration, write_dataset
from semanticvla_jax.data import lerobot
from semanticvla_jax.data.episodes import EpisodeSource
from semanticvla_jax.errors import exit_on_input_error
from semanticvla_jax.robots import ROBOTS, RobotSpec, find_robot


def demonstrations(dataset: EpisodeSource, robot: RobotSpec) -> Iterator[Demonstration]:
    """Every episode, in order."""
    starts = dataset.episode_start
    for episode, instruction in enumerate(dataset.instructions):
        frames = range(starts[episode], starts[episode + 1])
        files = zip(*(dataset.jpegs(frame) for frame in frames), strict=True)
        yield Demonstration(
            images=dict(zip(robot.camera_names, map(list, files), strict=True)),
            states=dataset.states[frames.start : frames.stop],
            actions=dataset.actions[frames.start : frames.stop],
            instruction=instruction,
            source=f"{dataset.name}/episode_{episode:06d}",
        )


@exit_on_input_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m data.lerobot", description="Converts a LeRobot dataset to RLDS."
    )
    parser.add_argument("path", type=Path, help="the directory that holds meta/info.json")
    parser.add_argument("--robot", required=True, help=f"one of {', '.join(sorted(ROBOTS))}")
    parser.add_argument("--out", type=Path, required=True, help="gets NAME/1.0.0")
    parser.add_argument("--name", help="of the new dataset (default: the directory's)")
    options = parser.parse_args(arguments)
    robot = find_robot(options.robot)
    dataset = lerobot.open_dataset(options.path, robot)
    name = options.name or dataset.name
    written = write_dataset(demonstrations(dataset, robot), name, robot, options.out)
    print(f"{written}: {dataset.episode_count} episodes, {dataset.frame_count} steps")


if __name__ == "__main__":
    main()
