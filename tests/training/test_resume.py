"""Interrupted runs end as if they had not been, bit for bit."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.train import train
from semanticvla_jax.training import loop
from semanticvla_jax.training.preemption import Preempted
from semanticvla_jax.training.stored import StoredCheckpoints
from tests.smallest import smallest_config
from tests.training import processes
from tests.training.comparison import assert_same_run


def config_of(dataset):
    config = smallest_config(dataset)
    config.update(checkpoint_every=1, keep_checkpoints=6)
    return config


@pytest.fixture(scope="module")
def stopped_run(tiny_dataset, tmp_path_factory) -> Path:
    """SIGTERM came behind step 5 of 6; a checkpoint of every step is there."""
    workdir = tmp_path_factory.mktemp("stopped")
    received = loop.Notice.received

    def terminate(notice, step):
        if step == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return received(notice, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Notice, "received", terminate)
        with pytest.raises(Preempted, match="after step 5, which is saved"):
            train(config_of(tiny_dataset), workdir)
    assert StoredCheckpoints(workdir).steps() == [5, 4, 3, 2, 1]
    return workdir


def test_after_sigterm(tiny_dataset, finished_run, stopped_run, tmp_path):
    shutil.copytree(stopped_run, tmp_path, dirs_exist_ok=True)
    train(config_of(tiny_dataset), tmp_path)
    assert_same_run(finished_run, tmp_path, 6)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def change_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 1
    path.write_bytes(content)


def largest_file(folder: Path) -> Path:
    return max(filter(Path.is_file, folder.rglob("*")), key=lambda path: path.stat().st_size)


def test_damaged_checkpoints_are_passed_over(
    tiny_dataset, finished_run, stopped_run, tmp_path, capsys
):
    """Four are damaged, each in another place, and a write was interrupted: it goes on from 1."""
    shutil.copytree(stopped_run, tmp_path, dirs_exist_ok=True)
    checkpoints = tmp_path / "checkpoints"
    change_a_byte(largest_file(checkpoints / "5" / "params"))
    halve(largest_file(checkpoints / "4" / "optimizer"))
    halve(checkpoints / "3" / "meta" / "metadata")
    shutil.rmtree(checkpoints / "2" / "data")
    shutil.copytree(checkpoints / "2", checkpoints / "6.orbax-checkpoint-tmp-1")
    train(config_of(tiny_dataset), tmp_path)
    told = [line for line in capsys.readouterr().out.splitlines() if "damaged" in line]
    assert [line.split()[1] for line in told] == ["5", "4", "3", "2"]
    assert "params is not what was saved" in told[0]
    assert sorted(path.name for path in (tmp_path / "damaged").iterdir()) == ["2", "3", "4", "5"]
    assert_same_run(finished_run, tmp_path, 6)


def test_without_a_whole_checkpoint_nothing_is_touched(tiny_dataset, stopped_run, tmp_path):
    shutil.copytree(stopped_run, tmp_path, dirs_exist_ok=True)
    before = sorted(tmp_path.rglob("*"))
    for step in range(1, 6):
        halve(tmp_path / "checkpoints" / str(step) / "meta" / "metadata")
    with pytest.raises(InputError, match="step 5: .*; step 4: .*; step 1: "):
        train(config_of(tiny_dataset), tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_after_kill_9(tiny_dataset, finished_run, tmp_path):
    """Behind step 5, while step 4 may still be on its way to the disk."""
    with processes.started(tiny_dataset, tmp_path, variables={"SEND": "SIGKILL:5"}) as process:
        printed = process.communicate(timeout=540)[0]
    assert process.returncode == -signal.SIGKILL, printed
    train(smallest_config(tiny_dataset), tmp_path)
    assert_same_run(finished_run, tmp_path, 6)
