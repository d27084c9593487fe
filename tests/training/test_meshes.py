"""The same losses on every mesh and in several processes; checkpoints move between them."""

from __future__ import annotations

import numpy as np
import pytest

from semanticvla_jax.training.metrics import read_metrics
from tests.training import processes

STEPS = dict(batch_size=8, total_steps=4, checkpoint_every=2)


def losses(workdir) -> list[float]:
    rows = read_metrics(workdir / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    return [row["loss"] for row in rows]


@pytest.fixture(scope="module")
def on_one_device(tiny_dataset, tmp_path_factory) -> list[float]:
    workdir = tmp_path_factory.mktemp("one")
    processes.run(tiny_dataset, workdir, **STEPS)
    return losses(workdir)


@pytest.mark.slow
@pytest.mark.parametrize(
    "mesh",
    [
        dict(data=8),
        dict(fsdp=8),
        dict(data=4, tensor=2),
        dict(data=2, fsdp=2, tensor=2),
    ],
    ids=str,
)
def test_losses_of_eight_devices_are_those_of_one(tiny_dataset, on_one_device, tmp_path, mesh):
    sizes = dict(data=1, fsdp=1, tensor=1) | mesh
    options = {f"mesh__{axis}": size for axis, size in sizes.items()}
    processes.run(tiny_dataset, tmp_path, devices=8, **options, **STEPS)
    np.testing.assert_allclose(losses(tmp_path), on_one_device, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_a_run_moves_between_meshes(tiny_dataset, on_one_device, tmp_path):
    """Stopped on one mesh after two steps and continued on another, in the same order of data."""
    run_until_step_2(tiny_dataset, tmp_path, devices=8, mesh__fsdp=4, mesh__tensor=2, mesh__data=1)
    processes.run(tiny_dataset, tmp_path, devices=2, mesh__data=2, **STEPS)
    np.testing.assert_allclose(losses(tmp_path), on_one_device, atol=1e-5, rtol=0)


def run_until_step_2(dataset, workdir, **options) -> None:
    """Stopped by SIGTERM, which the run sends itself."""
    processes.run(dataset, workdir, variables={"STOP_AFTER": "2"}, **options, **STEPS)
    assert [row["step"] for row in read_metrics(workdir / "metrics.jsonl")] == [1, 2]


@pytest.mark.slow
def test_losses_of_two_processes_are_those_of_one(tiny_dataset, on_one_device, tmp_path):
    processes.run_together(tiny_dataset, tmp_path, 2, **STEPS)
    np.testing.assert_allclose(losses(tmp_path), on_one_device, atol=1e-5, rtol=0)
