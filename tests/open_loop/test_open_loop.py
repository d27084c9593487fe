"""Errors by hand, predictions in the right order, and the command on the smallest model."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from semanticvla_jax.data.rlds import open_datasets
from semanticvla_jax.errors import InputError
from semanticvla_jax.open_loop import __main__ as command
from semanticvla_jax.open_loop import errors
from semanticvla_jax.open_loop.predict import Prediction, predict
from semanticvla_jax.policy import load_policy
from semanticvla_jax.robots import LIBERO

CHUNK, DIMS = LIBERO.chunk_length, LIBERO.action_size


@pytest.fixture(scope="module")
def policy(finished_run):
    return load_policy(finished_run)


@pytest.fixture(scope="module")
def dataset(tiny_dataset):
    return open_datasets(tiny_dataset, LIBERO)[0]


def knowing(policy, dataset, offset=0.0):
    """A policy that looks up what was demonstrated after a state, and adds an offset."""
    states = policy.statistics.proprio.bounds("bounds_q99").normalize(dataset.states)
    stored = LIBERO.gripper.to_training(dataset.actions)
    actions = policy.statistics.action.bounds("bounds_q99").normalize(stored)

    def compute(rows):
        assert not any("actions" in row for row in rows)
        steps = [np.abs(states - row["state"]).sum(1).argmin() for row in rows]
        ahead = np.minimum(np.array(steps)[:, None] + np.arange(CHUNK), len(states) - 1)
        return actions[ahead] + offset

    known = dataclasses.replace(policy)
    known.compute = compute
    return known


@pytest.mark.parametrize("batch_size", [5, 12, 16])
def test_a_policy_that_knows_makes_no_error_whatever_the_batches(policy, dataset, batch_size):
    prediction = predict(knowing(policy, dataset), dataset, 1, batch_size)
    assert prediction.predicted.shape == (12, CHUNK, DIMS)
    assert prediction.inside.sum() == 12 * 8 - 28  # 1 + ... + 7 lie past the end
    summary = errors.summarise([prediction], LIBERO, policy.statistics)
    assert all(group["error"] < 1e-6 for group in summary["groups"].values())
    assert all(group["constant"] > 0.1 for group in summary["groups"].values())
    within = (prediction.demonstrated > policy.statistics.action.q01) & (
        prediction.demonstrated < policy.statistics.action.q99
    )
    first = np.abs(prediction.predicted[:, 0] - prediction.demonstrated)
    assert first[within][..., :6].max() < 1e-5 and first[:, 6].max() == 0


def test_errors_by_hand(policy):
    targets = np.zeros((2, CHUNK, DIMS), np.float32)
    answers = np.zeros_like(targets)
    answers[0, 0, 0] = 0.3  # of translation, for step 0
    answers[0, 1, 0] = -0.6  # for step 1
    answers[1, 1:] = 9.0  # past the end
    demonstrated = np.zeros((2, DIMS), np.float32)
    prediction = Prediction(0, "", demonstrated, answers * 2, targets, answers)
    summary = errors.summarise([prediction, prediction], LIBERO, policy.statistics)
    translation = summary["groups"]["translation"]
    assert translation["error"] == pytest.approx(0.9 / 9)  # three steps of three dims
    np.testing.assert_allclose(translation["by_step"], [0.3 / 6, 0.6 / 3], rtol=1e-6)
    assert summary["groups"]["rotation"]["error"] == 0
    assert summary["dims"]["delta_x"] == {
        "error": pytest.approx(1.8 / 3),
        "unit": "1 = 0.05 m",
    }
    assert summary["steps"] == 4


def test_a_constant_offset_is_its_error(policy, dataset):
    prediction = predict(knowing(policy, dataset, 0.25), dataset, 0)
    summary = errors.summarise([prediction], LIBERO, policy.statistics)
    rotation = summary["groups"]["rotation"]
    np.testing.assert_allclose(rotation["by_step"], [0.25] * CHUNK, rtol=1e-5)
    assert "rotation" in errors.table(summary)


def test_which_episodes(dataset):
    assert command.chosen_episodes(dataset, [], 3, 2) == [1, 3]
    assert command.chosen_episodes(dataset, [], 1, 2) == [1]
    assert command.chosen_episodes(dataset, [4, 0], 3, 0) == [4, 0]
    with pytest.raises(InputError, match="validation_every=0"):
        command.chosen_episodes(dataset, [], 3, 0)
    with pytest.raises(InputError, match=r"found \[5\], expected 0 to 4"):
        command.chosen_episodes(dataset, [1, 5], 3, 0)


def test_the_command_writes_plots_and_errors(finished_run, tmp_path, capsys):
    command.main(
        ["--checkpoint", str(finished_run), "--numbers", "2", "--batch_size", "1"]
        + ["--out", str(tmp_path / "out")]
    )
    out = tmp_path / "out" / "libero_object_no_noops"
    assert sorted(path.name for path in out.iterdir()) == [
        "episode_00002.png",
        "errors.json",
        "errors.png",
    ]
    summary = json.loads((out / "errors.json").read_text())
    assert summary["episodes"] == [2] and summary["steps"] == 12
    assert all(0 < group["error"] < 2 for group in summary["groups"].values())
    assert "in the robot's units" in capsys.readouterr().out


def test_nothing_held_out_is_said(finished_run, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(["--checkpoint", str(finished_run), "--out", str(tmp_path)])
    assert stopped.value.code == 2
    assert "name episodes with --numbers" in capsys.readouterr().err
