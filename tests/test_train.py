"""Training runs: what they write, how they continue, how they refuse."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.train import train
from semanticvla_jax.training import checkpoints, loop, sharding
from semanticvla_jax.training.faults import NonFiniteLoss
from semanticvla_jax.training.metrics import read_metrics
from tests.smallest import smallest_config


def stored_parameters(workdir: Path, step: int) -> dict[str, np.ndarray]:
    """Every array under a checkpoint's `params`, whatever its structure."""
    opened, step = checkpoints.open_for_reading(workdir, step)
    restored = opened.read_params(step, None)
    opened.close()
    flat = jax.tree_util.tree_flatten_with_path(restored)[0]
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in flat}


def assert_same(first: dict, second: dict) -> None:
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


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


def test_interrupted_run_ends_with_the_same_parameters(
    tiny_dataset, finished_run, tmp_path, monkeypatch
):
    config = smallest_config(tiny_dataset)
    config.checkpoint_every = 4
    check_finite = loop.check_finite

    def stop_after_step_4(step, *rest):
        if step > 4:
            raise KeyboardInterrupt
        return check_finite(step, *rest)

    monkeypatch.setattr(loop, "check_finite", stop_after_step_4)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path)
    monkeypatch.undo()
    train(config, tmp_path)
    assert_same(stored_parameters(finished_run, 6), stored_parameters(tmp_path, 6))
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]


def test_rerunning_a_finished_run_changes_nothing(tiny_dataset, finished_run):
    before = (finished_run / "metrics.jsonl").read_text()
    assert train(smallest_config(tiny_dataset), finished_run) == {}
    assert (finished_run / "metrics.jsonl").read_text() == before


def test_another_configuration_is_refused(tiny_dataset, finished_run):
    config = smallest_config(tiny_dataset)
    config.model.llm.mlp_width = 64
    with pytest.raises(InputError, match="model.llm.mlp_width: 32 -> 64"):
        train(config, finished_run)


def test_non_finite_loss_names_its_step_and_saves_nothing(tiny_dataset, tmp_path, monkeypatch):
    config = smallest_config(tiny_dataset)
    config.checkpoint_every = 1
    put_batch = sharding.put_batch

    def poison(batch, mesh):
        poison.calls += 1
        bad = poison.calls == 3
        return put_batch(batch | {"actions": batch["actions"] * (np.nan if bad else 1)}, mesh)

    poison.calls = 0
    monkeypatch.setattr(sharding, "put_batch", poison)
    with pytest.raises(NonFiniteLoss, match="loss is nan at step 3 "):
        train(config, tmp_path)
    opened, step = checkpoints.open_for_reading(tmp_path)
    opened.close()
    assert step == 2


COMMAND = """
import sys
from semanticvla_jax import train
from tests.smallest import smallest_config
config = smallest_config(sys.argv[1])
config.update(total_steps=30, checkpoint_every=3)
train.train(config, sys.argv[2])
"""


def test_kill_9_then_rerun_equals_an_uninterrupted_run(tiny_dataset, tmp_path, repository):
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}

    def start(workdir: Path) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-c", COMMAND, str(tiny_dataset), str(workdir)],
            cwd=repository,
            env=environment,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = start(killed)
    deadline = time.monotonic() + 300
    while not any(path.name.isdigit() for path in (killed / "checkpoints").glob("*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    opened, step = checkpoints.open_for_reading(killed)
    opened.close()
    assert step < 30, "killed too late to show anything"
    assert start(killed).wait(timeout=300) == 0
    assert start(whole).wait(timeout=300) == 0
    assert_same(stored_parameters(whole, 30), stored_parameters(killed, 30))
    steps = [row["step"] for row in read_metrics(killed / "metrics.jsonl")]
    assert steps == list(range(1, 31))


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
