"""One run with everything switched on; what the loop hands to the device."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from semanticvla_jax import train as command
from semanticvla_jax.training import parameters, sharding
from semanticvla_jax.training.metrics import read_metrics
from semanticvla_jax.training.stored import StoredCheckpoints
from semanticvla_jax.training.trainer import Trainer
from tests.smallest import smallest_config
from tests.training.comparison import stored

TOWERS = "(siglip|dino)/.*"


def config_of(dataset, **changes):
    config = smallest_config(dataset)
    config.optimizer.update(rule="adam", groups=((TOWERS, None), ("head/.*", 0.1), (".*", 1.0)))
    config.update(total_steps=4, checkpoint_every=0, **changes)
    return config


@pytest.fixture(scope="module")
def run(tiny_dataset, tmp_path_factory):
    """(work directory, state that the loop began with, frozen parameters)."""
    workdir = tmp_path_factory.mktemp("everything")
    config = config_of(
        tiny_dataset,
        accumulate_steps=2,
        ema_decay=0.5,
        validate_every=2,
        validation_batches=2,
        profile_steps=(2, 3),
    )
    config.data.validation_every = 5
    config.model.llm.param_dtype = "bfloat16"
    config.model.siglip.param_dtype = "bfloat16"
    began = []
    run_steps = command.run_steps

    def watched(trainer, state, frozen, *rest):
        began.extend((state, frozen))
        return run_steps(trainer, state, frozen, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "run_steps", watched)
        command.train(config, workdir)
    return workdir, *began


def test_validation_stands_in_the_row_of_its_step(run):
    rows = read_metrics(run[0] / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert ["validation/loss" in row for row in rows] == [False, True, False, True]
    assert all({"loss", "learning_rate", "gradient_norm"} <= row.keys() for row in rows)
    assert "validation/l1/rotation" in rows[1]


def test_the_profile_is_there(run):
    assert list((run[0] / "profile").rglob("*.xplane.pb"))


def test_averages_are_what_is_used(run):
    arrays = stored(run[0], 4)
    name = "['head']['grip']['fc1']['kernel']"
    assert not np.array_equal(arrays["params" + name], arrays["average" + name])
    used = StoredCheckpoints(run[0]).read_params(4, None)
    np.testing.assert_array_equal(used["head"]["grip"]["fc1"]["kernel"], arrays["average" + name])


def test_trained_parameters_are_f32_and_frozen_ones_what_the_model_says(run):
    """The decoder is stored in bfloat16 and trained: its masters are f32."""
    _, state, frozen = run
    flat = parameters.flatten(state.trainable)
    assert {leaf.dtype.name for leaf in flat.values()} == {"float32"}
    assert any(name.startswith("llm/layers") for name in flat)
    assert not any(name.startswith(("siglip", "dino")) for name in flat)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(frozen["siglip"])} == {"bfloat16"}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(frozen["dino"])} == {"float32"}


def test_a_step_consumes_the_state_and_leaves_the_frozen(run):
    _, state, frozen = run
    moved = jax.tree.leaves((state.trainable, state.optimizer, state.average))
    assert all(leaf.is_deleted() for leaf in moved)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(frozen))


def test_only_trained_parameters_have_moved(run):
    workdir, _, frozen = run
    after = StoredCheckpoints(workdir).read_params(4, None)
    for name, leaf in parameters.flatten(frozen).items():
        np.testing.assert_array_equal(parameters.flatten(after)[name], leaf, err_msg=name)


def test_nothing_slips_from_host_to_device(tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(sharding, "put_batch", lambda batch, mesh: batch)
    with pytest.raises(Exception, match="Disallowed host-to-device transfer"):
        command.train(smallest_config(tiny_dataset), tmp_path)


def test_parts_must_divide_the_batch(tiny_dataset, tmp_path):
    with pytest.raises(ValueError, match="4 samples in 3 parts on {'data': 1, .*config.mesh"):
        Trainer(config_of(tiny_dataset, accumulate_steps=3), tmp_path)
