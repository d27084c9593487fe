"""A policy loaded from a checkpoint: raw observation in, the robot's units out."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.policy import load_policy


@pytest.fixture(scope="module")
def policy(finished_run):
    return load_policy(finished_run)


def observation(**changes) -> dict:
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(0, 255, (32, 32, 3), dtype=np.uint8),
        "wrist_image": rng.integers(0, 255, (32, 32, 3), dtype=np.uint8),
        "state": np.linspace(-0.5, 0.5, 8).astype(np.float32),
        "instruction": "Turn on the stove",
    } | changes


def test_infer_gives_a_chunk_in_simulator_units(policy):
    actions = policy.infer(observation())
    assert actions.shape == (8, 7) and actions.dtype == np.float32
    assert set(np.unique(actions[:, 6])) <= {-1.0, 0.0, 1.0}
    np.testing.assert_array_equal(actions, policy.infer(observation()))


def test_infer_is_prepare_model_finish(policy):
    batch = jax.tree.map(lambda x: jnp.asarray(x)[None], policy.prepare(observation()))
    model = jax.jit(policy.model.apply)
    normalised = np.asarray(model({"params": policy.params}, batch)[0])[0]
    action = policy.statistics.action
    expected = 0.5 * (normalised[:, :6] + 1) * (action.q99 - action.q01 + 1e-8)[:6] + action.q01[:6]
    np.testing.assert_allclose(policy.infer(observation())[:, :6], expected, rtol=1e-5, atol=1e-6)


def test_instruction_and_cameras_reach_the_model(policy):
    usual = policy.infer(observation())[:, :6]
    other_sentence = policy.infer(observation(instruction="pick up the milk"))[:, :6]
    other_image = policy.infer(observation(image=np.zeros((32, 32, 3), np.uint8)))[:, :6]
    assert np.abs(usual - other_sentence).max() > 1e-6
    assert np.abs(usual - other_image).max() > 1e-6


def test_untrained_differs_and_steps_can_be_chosen(finished_run, policy):
    fresh = load_policy(finished_run, untrained=True)
    assert np.abs(fresh.infer(observation()) - policy.infer(observation())).max() > 1e-4
    by_step = load_policy(finished_run / "checkpoints" / "6")
    np.testing.assert_array_equal(by_step.infer(observation()), policy.infer(observation()))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"state": np.zeros(7, np.float32)}, "8 finite numbers"),
        ({"state": np.full(8, np.nan, np.float32)}, "8 finite numbers"),
        ({"image": np.zeros((32, 32), np.uint8)}, r"uint8\[H, W, 3\]"),
        ({"wrist_image": np.zeros((32, 32, 3), np.float32)}, "float32"),
    ],
)
def test_bad_observations(policy, changes, message):
    with pytest.raises(InputError, match=message):
        policy.infer(observation(**changes))


def test_missing_camera(policy):
    incomplete = observation()
    del incomplete["wrist_image"]
    with pytest.raises(InputError, match="add wrist_image"):
        policy.infer(incomplete)


def test_no_checkpoint(tmp_path, finished_run):
    with pytest.raises(InputError, match="no 'checkpoints' folder"):
        load_policy(tmp_path)
    with pytest.raises(InputError, match=r"one of \[4, 6\]"):
        load_policy(finished_run, step=7)
