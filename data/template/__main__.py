"""Command line; the package's docstring shows it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from data.demonstrations import write_dataset
from data.template.read import read_demonstrations
from semanticvla_jax.errors import exit_on_input_error
from semanticvla_jax.robots import ROBOTS, find_robot


@exit_on_input_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m data.template", description="Converts recordings of a robot to RLDS."
    )
    parser.add_argument("recordings", type=Path, help="directory of .npz files, one per episode")
    parser.add_argument("--robot", required=True, help=f"one of {', '.join(sorted(ROBOTS))}")
    parser.add_argument("--name", required=True, help="of the dataset: lower case, underscores")
    parser.add_argument("--out", type=Path, required=True, help="gets NAME/1.0.0")
    options = parser.parse_args(arguments)
    robot = find_robot(options.robot)
    episodes = read_demonstrations(options.recordings, robot)
    print(write_dataset(episodes, options.name, robot, options.out))


if __name__ == "__main__":
    main()
