"""Training runs: what they write, what they refuse. `training/test_resume.py`: continuing."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.train import train
from semanticvla_jax.training import checkpoints
from semanticvla_jax.training.metrics import read_metrics
from tests.smallest import smallest_config


def test_a_run_leaves_everything_behind(finished_run):
    rows = read_metrics(finished_run / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert all(np.isfinite(row["loss"]) for row in rows)
    assert {"l1/translation", "l1/rotation", "l1/gripper", "learning_rate"} <= rows[0].keys()
    assert (finished_run / "first_batch.png").stat().st_size > 1000
    assert list((finished_run / "tensorboard").glob("events*"))
    opened, step = checkpoints.open_for_reading(finished_run)
    meta = opened.read_meta(step)
    opened.close()
    assert step == 6
    assert meta["robot"] == "libero" and "libero_object_no_noops" in meta["statistics"]
    assert meta["camera_size"] == 32


def test_rerunning_a_finished_run_changes_nothing(tiny_dataset, finished_run):
    before = (finished_run / "metrics.jsonl").read_text()
    assert train(smallest_config(tiny_dataset), finished_run) == {}
    assert (finished_run / "metrics.jsonl").read_text() == before


def test_another_configuration_is_refused(tiny_dataset, finished_run):
    config = smallest_config(tiny_dataset)
    config.model.llm.mlp_width = 64
    with pytest.raises(InputError, match="model.llm.mlp_width: 32 -> 64"):
        train(config, finished_run)


def run_command(repository, *flags: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "semanticvla_jax.train",
            "--config",
            "configs/libero_tiny.py",
            *flags,
        ],
        cwd=repository,
        capture_output=True,
        text=True,
    )


def test_missing_dataset_is_one_clear_message(repository, tmp_path):
    done = run_command(
        repository, f"--workdir={tmp_path}", f"--config.data.path={tmp_path / 'nothing'}"
    )
    assert done.returncode == 2
    message = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(message) == 1 and "nothing" in message[0] and "Fix:" in message[0]
    assert "Traceback" not in done.stderr
