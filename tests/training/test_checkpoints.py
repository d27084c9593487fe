"""Damaged and failing checkpoints, and averaged parameters, on trees of a few arrays."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semanticvla_jax.errors import InputError
from semanticvla_jax.training import checkpoints as ckpt
from semanticvla_jax.training import checksums
from semanticvla_jax.training.stored import DamagedCheckpoint, StoredCheckpoints

RANDOM = np.random.default_rng(0)  # nothing to compress, so that the arrays' data are in files
PARAMS = {
    "frozen": jnp.asarray(RANDOM.normal(size=(40, 40)), jnp.bfloat16),
    "trained": jnp.asarray(RANDOM.normal(size=600), jnp.float32),
}
STATE = {"count": jnp.asarray(7, jnp.int32)}
AVERAGE = {"trained": jnp.full(600, 7.0)}


def save(opened, step):
    opened.save(
        step, params=PARAMS, optimizer=STATE, average=AVERAGE, data={"next_batch": step}, meta={}
    )


def restore(opened, step):
    shapes = [jax.eval_shape(lambda tree=tree: tree) for tree in (PARAMS, STATE, AVERAGE)]
    return opened.restore(step, params=shapes[0], optimizer=shapes[1], average=shapes[2])


@pytest.fixture
def saved(tmp_path):
    with contextlib.closing(ckpt.Checkpoints(tmp_path, keep=2)) as opened:
        for step in (1, 2, 3):
            save(opened, step)
        opened._manager.wait_until_finished()
        yield opened


def test_only_the_newest_are_kept(saved):
    assert saved.steps() == [3, 2]
    assert {path.name for path in saved.directory.iterdir()} == {"2", "3"}


DAMAGE = {
    "half": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "changed": lambda content: (
        content[: len(content) * 2 // 3]
        + bytes([content[len(content) * 2 // 3] ^ 0x55])
        + content[len(content) * 2 // 3 + 1 :]
    ),
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of Orbax
@pytest.mark.parametrize("kind", [*DAMAGE, "missing"])
def test_whatever_happens_to_a_file_is_noticed_or_does_no_harm(saved, tmp_path, kind):
    """Every file of a checkpoint in turn."""
    shutil.copytree(saved.directory / "3", tmp_path / "other" / "checkpoints" / "3")
    other = StoredCheckpoints(tmp_path / "other")
    noticed = set()
    for path in sorted(filter(Path.is_file, other.directory.rglob("*"))):
        content = path.read_bytes()
        if kind == "missing":
            path.unlink()
        else:
            path.write_bytes(DAMAGE[kind](content))
        try:
            found = restore(other, 3)
        except DamagedCheckpoint:
            noticed.add(path.relative_to(other.directory / "3").parts[0])
        else:
            expected = (PARAMS, STATE, AVERAGE, {"next_batch": 3})
            jax.tree.map(np.testing.assert_array_equal, tuple(found), expected)
        path.write_bytes(content)
    assert noticed == {"params", "optimizer", "average", "data", "meta"}
    assert restore(other, 3).data == {"next_batch": 3}


def test_a_damaged_checkpoint_is_moved_aside(saved, tmp_path):
    assert saved.set_aside(3) == tmp_path / "damaged" / "3"
    assert saved.steps() == [2]
    assert restore(saved, 2).data == {"next_batch": 2}
    save(saved, 3)  # its name is free again


def test_readers_leave_a_save_under_way_alone(saved):
    (saved.directory / "4.orbax-checkpoint-tmp-1" / "params").mkdir(parents=True)
    assert ckpt.open_for_reading(saved.directory)[1] == 3
    assert (saved.directory / "4.orbax-checkpoint-tmp-1" / "params").is_dir()


def test_other_parameters_are_no_damage(saved):
    wanted = jax.eval_shape(lambda: {"frozen": PARAMS["frozen"], "new": jnp.ones(2)})
    with pytest.raises(InputError, match="1 not in the model: trained; 1 not stored: new") as error:
        saved.restore(3, params=wanted, optimizer=STATE, average=None)
    assert not isinstance(error.value, DamagedCheckpoint)


def test_a_failed_save_names_the_checkpoint_that_is_left(saved, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saved._manager, "save", full)
    with pytest.raises(InputError, match="continues from step 3"):
        save(saved, 4)
    monkeypatch.undo()
    np.testing.assert_array_equal(restore(saved, 3).params["trained"], PARAMS["trained"])


def test_parameters_to_use_are_the_averaged_ones(saved):
    for shapes in (None, jax.eval_shape(lambda: PARAMS)):
        read = saved.read_params(3, shapes)
        np.testing.assert_array_equal(read["trained"], AVERAGE["trained"])
        np.testing.assert_array_equal(read["frozen"], PARAMS["frozen"])


def test_checksum_by_hand():
    """Words 5 and 6 at places 0 and 1: 5 * 1 + 6 * 3, times the odd number of the name."""
    tree = {"a": jnp.asarray([5, 6], jnp.int32)}
    swapped = {"a": jnp.asarray([6, 5], jnp.int32)}
    name = checksums.zlib.crc32(b"['a']") | 1
    assert int(checksums.of_arrays(tree)) == 23 * name % 2**32
    assert int(checksums.of_arrays(swapped)) == 21 * name % 2**32


@given(st.integers(0, 5), st.integers(0, 31))
def test_a_changed_bit_changes_the_checksum(word, bit):
    words = np.arange(6, dtype=np.uint32).reshape(2, 3)
    changed = words.copy()
    changed.flat[word] ^= np.uint32(1 << bit)
    assert int(checksums.of_arrays([words])) != int(checksums.of_arrays([changed]))
