from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.libero_expert.perturbation import LOW, NO_NOISE, Noise, Perturbation, parse_noise
from semanticvla_jax.errors import InputError

OPEN, CLOSED = -1.0, 1.0
ONLY_WHITE = Noise(burst_probability=0)
ONLY_BURSTS = Noise(position=0, rotation=0, burst_rotation=0)


def run(noise: Noise, *, steps: int, seed: int = 0, gripper: float = CLOSED, height: float = 1.0):
    """Disturbances f64[steps, 7] of the action that stands still."""
    perturbation = Perturbation(noise, np.random.default_rng(seed))
    action = np.array([0, 0, 0, 0, 0, 0, gripper])
    return np.stack([perturbation(action, height) for _ in range(steps)]) - action


def test_white_noise_has_the_stated_sizes():
    deviation = run(ONLY_WHITE, steps=20_000).std(axis=0)
    np.testing.assert_allclose(deviation[:3], 0.2, rtol=0.03)
    np.testing.assert_allclose(deviation[3:6], 0.08, rtol=0.03)


def test_bursts_have_the_stated_frequency_length_and_magnitude():
    pushes = np.linalg.norm(run(ONLY_BURSTS, steps=50_000)[:, :3], axis=1)
    starts = np.flatnonzero((pushes > 0) & (np.r_[0, pushes[:-1]] != pushes))
    lengths = np.array([np.argmax(pushes[start : start + 7] != pushes[start]) for start in starts])
    assert set(lengths[:-1]) == {3, 4, 5, 6}
    assert 0.3 <= pushes[starts].min() < 0.32 and 0.78 < pushes[starts].max() <= 0.8
    # Between bursts a step starts one with probability 0.04.
    quiet = np.count_nonzero(pushes == 0)
    assert len(starts) / (quiet + len(starts)) == pytest.approx(0.04, rel=0.1)


@pytest.mark.parametrize(
    ("gripper", "height", "downwards"),
    [(OPEN, LOW - 0.01, False), (OPEN, LOW + 0.01, True), (CLOSED, LOW - 0.01, True)],
)
def test_no_burst_pushes_a_low_open_gripper_down(gripper, height, downwards):
    pushes = run(ONLY_BURSTS, steps=2_000, gripper=gripper, height=height)[:, 2]
    assert (pushes.min() < 0) == downwards


def test_no_noise_changes_nothing():
    assert not run(NO_NOISE, steps=100).any()


@given(
    seed=st.integers(0, 2**32 - 1),
    action=st.lists(st.floats(-1, 1), min_size=7, max_size=7),
    height=st.floats(-0.1, 1),
)
def test_executed_actions_stay_within_limits(seed, action, height):
    action = np.array(action)
    clean = action.copy()
    first, second = (Perturbation(Noise(), np.random.default_rng(seed)) for _ in range(2))
    for _ in range(10):
        executed = first(action, height)
        assert np.abs(executed[:6]).max() <= 1
        assert executed[6] == action[6], "the gripper is never disturbed"
        np.testing.assert_array_equal(executed, second(action, height))
    np.testing.assert_array_equal(action, clean)


def test_noise_is_read_from_text():
    assert parse_noise("default") == Noise()
    assert parse_noise("none") == NO_NOISE
    wanted = dataclasses.replace(Noise(), position=0.1, burst_steps_max=4)
    assert parse_noise("position=0.1,burst_steps_max=4") == wanted


@pytest.mark.parametrize(
    "text", ["loud", "position", "position=x", "burst_probability=2", "burst_steps_min=9", "size=1"]
)
def test_wrong_noise_is_refused(text):
    with pytest.raises(InputError, match="noise"):
        parse_noise(text)
