"""Damaged and failing checkpoints, and averaged parameters, on a tree of two arrays."""

from __future__ import annotations

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.training import checkpoints as ckpt
from semanticvla_jax.training.stored import DamagedCheckpoint

PARAMS = {"frozen": jnp.arange(4.0), "trained": jnp.arange(600.0)}
STATE = {"count": jnp.zeros((), jnp.int32)}
AVERAGE = {"trained": jnp.full(600, 7.0)}


@pytest.fixture
def saved(tmp_path):
    with contextlib.closing(ckpt.Checkpoints(tmp_path, keep=3)) as opened:
        for step in (1, 2):
            save(opened, step)
        opened._manager.wait_until_finished()
        yield opened


def save(opened, step):
    opened.save(
        step, params=PARAMS, optimizer=STATE, average=AVERAGE, data={"next_batch": step}, meta={}
    )


def restore(opened, step):
    shapes = [jax.eval_shape(lambda tree=tree: tree) for tree in (PARAMS, STATE, AVERAGE)]
    return opened.restore(step, params=shapes[0], optimizer=shapes[1], average=shapes[2])


def test_a_truncated_checkpoint_is_noticed_and_moved_aside(saved, tmp_path):
    files = [path for path in (saved.directory / "2" / "params").rglob("d/*") if path.is_file()]
    assert files
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DamagedCheckpoint):
        restore(saved, 2)
    assert saved.set_aside(2) == tmp_path / "damaged" / "2"
    assert saved.steps() == [1]
    assert restore(saved, 1).data == {"next_batch": 1}
    save(saved, 2)  # its name is free again


def test_a_failed_save_names_the_checkpoint_that_is_left(saved, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saved._manager, "save", full)
    with pytest.raises(InputError, match="continues from step 2"):
        save(saved, 3)
    monkeypatch.undo()
    np.testing.assert_array_equal(restore(saved, 2).params["trained"], PARAMS["trained"])


def test_parameters_to_use_are_the_averaged_ones(saved):
    for shapes in (None, jax.eval_shape(lambda: PARAMS)):
        read = saved.read_params(2, shapes)
        np.testing.assert_array_equal(read["trained"], AVERAGE["trained"])
        np.testing.assert_array_equal(read["frozen"], PARAMS["frozen"])
