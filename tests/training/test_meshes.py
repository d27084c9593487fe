"""The same losses on every mesh and in several processes; checkpoints move between them."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from semanticvla_jax.training.metrics import read_metrics
from tests.training import layouts, processes


def test_a_run_continues_on_four_devices_with_the_same_losses(tiny_dataset, finished_run, tmp_path):
    """From a checkpoint of one device, in the same order of data; kernels lie in four parts."""
    shutil.copytree(finished_run, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "checkpoints" / "6")
    axes = dict(mesh__data=1, mesh__fsdp=2, mesh__tensor=2)
    processes.run(
        tiny_dataset,
        tmp_path,
        devices=4,
        variables={"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        **axes,
    )
    expected, found = (read_metrics(run / "metrics.jsonl") for run in (finished_run, tmp_path))
    assert [row["step"] for row in found] == [1, 2, 3, 4, 5, 6]
    for name in ("loss", "gradient_norm", "l1/rotation"):
        after = [[row[name] for row in rows[4:]] for rows in (found, expected)]
        np.testing.assert_allclose(*after, rtol=1e-5, err_msg=name)
    shape, part = json.loads((tmp_path / "shards.json").read_text())[
        "llm/layers_0/mlp/gate_proj/kernel"
    ]
    assert part == [shape[0] // 2, shape[1] // 2]


@pytest.fixture(scope="module")
def on_one_device(tiny_dataset, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("one")
    layouts.run(tiny_dataset, workdir, layouts.ONE)
    return workdir


@pytest.mark.slow
@pytest.mark.parametrize("layout", layouts.EIGHT_DEVICES + layouts.TWO_PROCESSES, ids=str)
def test_losses_on_a_mesh_are_those_of_one_device(tiny_dataset, on_one_device, tmp_path, layout):
    layouts.run(tiny_dataset, tmp_path, layout)
    assert layouts.largest_difference(tmp_path, on_one_device) < layouts.TOLERANCE
    # Nearly everything is split over fsdp; tensor splits the MLPs and the decoder alone.
    assert layouts.share_per_device(tmp_path) < 1 / layout.fsdp / (layout.tensor**0.5) + 0.1


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("journey", layouts.JOURNEYS, ids=len)
def test_a_run_moves_between_devices_and_processes(tiny_dataset, on_one_device, tmp_path, journey):
    ends = layouts.travel(tiny_dataset, tmp_path, journey)
    assert ends == sorted(set(ends)), "each made steps of its own"
    assert layouts.largest_difference(tmp_path, on_one_device) < layouts.TOLERANCE
