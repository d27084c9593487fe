"""What goes wrong in the loop is named, and leaves the checkpoints whole."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess

import numpy as np
import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.train import train
from semanticvla_jax.training import sharding
from semanticvla_jax.training.faults import NonFiniteLoss
from semanticvla_jax.training.stored import StoredCheckpoints
from tests.data.tfds_writer import write_dataset
from tests.smallest import smallest_config
from tests.training.comparison import assert_same_run


def config_of(dataset, **changes):
    config = smallest_config(dataset)
    config.update({"checkpoint_every": 1, "keep_checkpoints": 2} | changes)
    return config


def test_a_loss_that_is_not_finite(tiny_dataset, tmp_path, monkeypatch):
    """Names its step, dumps what was fed, and saves nothing behind it."""
    put_batch, fed = sharding.put_batch, []

    def poison(batch, mesh):
        fed.append(batch)
        if len(fed) == 3:
            batch["actions"][0, 0, 0] = np.nan
        return put_batch(batch, mesh)

    monkeypatch.setattr(sharding, "put_batch", poison)
    with pytest.raises(NonFiniteLoss, match="loss is nan at step 3 ") as error:
        train(config_of(tiny_dataset), tmp_path)
    assert StoredCheckpoints(tmp_path).steps() == [2, 1]
    dump = np.load(tmp_path / "non_finite" / "step_3_process_0.npz")
    assert str(tmp_path / "non_finite" / "step_3_process_0.npz") in str(error.value)
    assert set(dump.files) == {"metrics", *fed[2]}
    for name, value in fed[2].items():
        np.testing.assert_array_equal(dump[name], value)
    assert '"loss": NaN' in str(dump["metrics"])


def test_an_unreadable_picture(tmp_path):
    """One in the middle of a file is overwritten; the file's index and lengths stay right."""
    dataset = write_dataset(tmp_path / "data")
    file = sorted(dataset.glob("*.tfrecord*"))[0]
    content = bytearray(file.read_bytes())
    start = content.index(b"\xff\xd8\xff", len(content) // 2) + 3  # behind a JPEG's first marker
    content[start : start + 40] = bytes(40)
    file.write_bytes(content)
    with pytest.raises(InputError, match=rf"batch \d+ in .*{file}.*: found .*JPEG"):
        train(config_of(dataset, total_steps=40), tmp_path / "run")


@contextlib.contextmanager
def small_disk(path, size: str):
    """A file system of its own, of so many bytes."""
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"may not mount a file system: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def test_a_full_disk(tiny_dataset, finished_run, tmp_path):
    """Room for two checkpoints, not for three: the last good one is named, kept and continued."""
    size = sum(path.stat().st_size for path in (finished_run / "checkpoints" / "6").rglob("*"))
    workdir = tmp_path / "disk"
    with small_disk(workdir, str(int(size * 2.5))):
        with pytest.raises(InputError) as error:
            train(config_of(tiny_dataset, keep_checkpoints=6), workdir)
        last = int(re.search("continues from step (\\d)", str(error.value))[1])
        assert StoredCheckpoints(workdir).steps()[0] == last
        shutil.copytree(workdir, tmp_path / "larger")
    train(config_of(tiny_dataset), tmp_path / "larger")
    assert_same_run(finished_run, tmp_path / "larger", 6)
