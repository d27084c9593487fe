"""Runs of the smallest adapted model on meshes of several devices and processes, compared."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import NamedTuple

from semanticvla_jax.training.metrics import read_metrics
from tests.training import processes

SETTINGS = dict(config="adapted", batch_size=8, total_steps=6, checkpoint_every=0)
TOLERANCE = 1e-5  # of losses of about 0.5, in f32


class Layout(NamedTuple):
    """Processes, devices of each, and how the mesh divides all of them."""

    processes: int
    devices: int
    data: int
    fsdp: int
    tensor: int

    def __str__(self) -> str:
        axes = f"data={self.data} fsdp={self.fsdp} tensor={self.tensor}"
        return f"{self.processes} x {self.devices}: {axes}"


ONE = Layout(1, 1, data=1, fsdp=1, tensor=1)
EIGHT_DEVICES = (
    Layout(1, 8, data=8, fsdp=1, tensor=1),
    Layout(1, 8, data=1, fsdp=8, tensor=1),
    Layout(1, 8, data=4, fsdp=1, tensor=2),
    Layout(1, 8, data=1, fsdp=4, tensor=2),
    Layout(1, 8, data=2, fsdp=2, tensor=2),
)
TWO_PROCESSES = (
    Layout(2, 1, data=2, fsdp=1, tensor=1),
    Layout(2, 1, data=1, fsdp=2, tensor=1),
    Layout(2, 1, data=1, fsdp=1, tensor=2),
    Layout(2, 4, data=2, fsdp=2, tensor=2),
)
# Stopped by SIGTERM and continued on the next one; there and back.
JOURNEYS = (
    (ONE, EIGHT_DEVICES[3], TWO_PROCESSES[1], ONE),
    (TWO_PROCESSES[3], EIGHT_DEVICES[0], ONE, TWO_PROCESSES[2]),
)


def run(dataset: Path, workdir: Path, layout: Layout, *, stop_after: int = 0) -> None:
    """One run, or the part of it up to a SIGTERM after that step."""
    # Unoptimised code compiles in two thirds of the time.
    variables = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    if stop_after:
        variables["SEND"] = f"SIGTERM:{stop_after}"
    axes = {f"mesh__{axis}": getattr(layout, axis) for axis in ("data", "fsdp", "tensor")}
    processes.run(
        dataset,
        workdir,
        processes=layout.processes,
        devices=layout.devices,
        variables=variables,
        **axes,
        **SETTINGS,
    )


def travel(dataset: Path, workdir: Path, journey: tuple[Layout, ...]) -> list[int]:
    """One run on one layout after the other; returns the last step of each.

    Several processes agree on a step after the one in which SIGTERM came.
    """
    ends = [0]
    for leg, layout in enumerate(journey, start=1):
        stop = ends[-1] + 1 if leg < len(journey) else 0
        run(dataset, workdir, layout, stop_after=stop)
        ends.append(read_metrics(workdir / "metrics.jsonl")[-1]["step"])
    return ends[1:]


def losses(workdir: Path) -> list[float]:
    rows = read_metrics(workdir / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, SETTINGS["total_steps"] + 1))
    return [row["loss"] for row in rows]


def largest_difference(workdir: Path, other: Path) -> float:
    """Between the losses of two whole runs."""
    return max(abs(a - b) for a, b in zip(losses(workdir), losses(other), strict=True))


def share_per_device(workdir: Path) -> float:
    """Of all parameters' scalars, what one device holds."""
    shards = json.loads((workdir / "shards.json").read_text()).values()
    whole = sum(math.prod(shape) for shape, _ in shards)
    return sum(math.prod(part) for _, part in shards) / whole
