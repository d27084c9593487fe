"""Prints how far the losses on meshes of several devices and processes are from one device's.

python -m tests.training.mesh_table
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.data.tfds_writer import write_dataset
from tests.training import layouts


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        print_table(Path(folder))


def print_table(folder: Path) -> None:
    dataset, one = write_dataset(folder / "data"), folder / "one"
    layouts.run(dataset, one, layouts.ONE)
    print("| processes x devices: mesh | parameters on each device | largest loss difference |")
    print("|---|---|---|", flush=True)
    differences = []
    for number, layout in enumerate((*layouts.EIGHT_DEVICES, *layouts.TWO_PROCESSES)):
        workdir = folder / f"layout_{number}"
        layouts.run(dataset, workdir, layout)
        differences.append(layouts.largest_difference(workdir, one))
        share = layouts.share_per_device(workdir)
        print(f"| {layout} | {share:.1%} | {differences[-1]:.1e} |", flush=True)
    for number, journey in enumerate(layouts.JOURNEYS):
        workdir = folder / f"journey_{number}"
        ends = layouts.travel(dataset, workdir, journey)
        differences.append(layouts.largest_difference(workdir, one))
        legs = "; then ".join(f"{x}, to step {end}" for x, end in zip(journey, ends, strict=True))
        print(f"| {legs} | | {differences[-1]:.1e} |", flush=True)
    print(f"largest={max(differences):.1e} of losses near {layouts.losses(one)[0]:.2f}")


if __name__ == "__main__":
    main()
