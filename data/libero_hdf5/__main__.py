"""Command line; the package's docstring shows it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from data.demonstrations import write_dataset
from data.libero_hdf5.read import find_files, read_demonstrations
from semanticvla_jax.errors import exit_on_input_error
from semanticvla_jax.robots import LIBERO


@exit_on_input_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m data.libero_hdf5", description="Converts LIBERO's HDF5 files to RLDS."
    )
    parser.add_argument("path", type=Path, help="directory of *_demo.hdf5, or one such file")
    parser.add_argument("--suite", required=True, help="names the dataset: SUITE_no_noops")
    parser.add_argument("--out", type=Path, required=True, help="gets SUITE_no_noops/1.0.0")
    options = parser.parse_args(arguments)
    files = find_files(options.path)
    episodes = (each for file in files for each in read_demonstrations(file))
    written = write_dataset(episodes, f"{options.suite}_no_noops", LIBERO, options.out)
    print(f"{written}: {len(files)} tasks")


if __name__ == "__main__":
    main()
