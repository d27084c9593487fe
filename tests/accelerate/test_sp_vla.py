"""SP-VLA: the scheduler's truth table, the generator's closed form, tokens, a policy around it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from semanticvla_jax.accelerate.ridge import extrapolate
from semanticvla_jax.accelerate.scheduler import ActionBuffer, Scheduler
from semanticvla_jax.accelerate.sp_vla import Schedule
from semanticvla_jax.errors import InputError
from semanticvla_jax.robots import ALOHA, LIBERO

EVEN = [0.3, -0.4, 0.21]


def buffer(last, flags) -> ActionBuffer:
    actions = np.zeros((len(flags), 7))
    actions[-1, :3] = last
    return ActionBuffer(actions, np.array(flags, bool))


@pytest.mark.parametrize(
    "last, by_model, skips",
    [
        (EVEN, [1, 1, 1, 1, 1, 1], True),
        (EVEN, [1, 1, 1, 1, 0, 0], True),
        (EVEN, [1, 1, 1, 0, 0, 0], False),  # 3 of 6 is not more than half
        (EVEN, [1, 1, 1, 1, 1], False),  # not full yet
        ([0.3, -0.4, 0.2], [1] * 6, False),  # strictly faster than the slowest
        ([0.3, -0.4, 0.0], [1] * 6, False),
        ([0.3, -0.5, 0.3], [1] * 6, False),  # strictly slower than the fastest
        ([0.3, -0.9, 0.3], [1] * 6, False),
        ([-0.3, -0.3, -0.3], [0, 0, 1, 1, 1, 1], True),
    ],
)
def test_truth_table(last, by_model, skips):
    assert Scheduler().may_skip(buffer(last, by_model), (0, 1, 2)) is skips


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(float, st.tuples(st.integers(2, 8), st.integers(1, 4)), elements=st.floats(-1, 1)),
    st.floats(1e-3, 10),
)
def test_ridge_is_the_minimum_of_its_loss(actions, strength):
    """Least squares on rows that stand for the penalty is the closed form."""
    n = len(actions)
    x = np.stack([np.arange(n), np.ones(n)], axis=1)
    padded = np.concatenate([x, np.sqrt(strength) * np.eye(2)])
    target = np.concatenate([actions, np.zeros((2, actions.shape[1]))])
    beta = np.linalg.lstsq(padded, target, rcond=None)[0]
    expected = np.array([[n, 1], [n + 1, 1]]) @ beta
    np.testing.assert_allclose(extrapolate(actions, strength, 2), expected, atol=1e-8)


def test_a_line_goes_on():
    line = np.arange(6)[:, None] * [0.1, -0.2] + [0.0, 1.0]
    np.testing.assert_allclose(extrapolate(line, 1e-9, 2), [[0.6, -0.2], [0.7, -0.4]], atol=1e-6)


def test_the_buffer_forgets():
    filled = (
        ActionBuffer.empty(2).append(np.ones((4, 2)), True, 6).append(np.zeros((4, 2)), False, 6)
    )
    assert filled.by_model.tolist() == [True, True, False, False, False, False]
    assert filled.actions[:, 0].tolist() == [1, 1, 0, 0, 0, 0]


class Steady:
    """A policy that always moves evenly, and notes what it was told."""

    label, robot, camera_size, chunk = "steady", LIBERO, 8, 8

    def __init__(self, action=(0.3, 0.3, 0.3, 0, 0, 0, 1)):
        self.action, self.observations, self.episodes = np.array(action, np.float32), [], 0

    def start_episode(self):
        self.episodes += 1

    def infer(self, observation):
        self.observations.append(observation)
        return np.tile(self.action, (8, 1))


def test_step_by_step():
    policy = Steady()
    scheduled = Schedule().around(policy, execute=1)
    scheduled.start_episode()
    answers = [scheduled.infer({}) for _ in range(14)]
    # Six to fill the buffer; then a query is left out while more than half are the policy's.
    assert scheduled.asked == [True] * 6 + [False] * 3 + [True] * 4 + [False]
    extrapolated = answers[6]
    assert extrapolated.shape == (1, 7) and extrapolated.dtype == np.float32
    assert extrapolated[0, 6] == 1  # the gripper stays as it is
    expected = extrapolate(np.tile(policy.action, (6, 1)), Schedule().strength)
    np.testing.assert_allclose(extrapolated[0, :6], expected[0, :6], rtol=1e-6)
    assert "last_action" not in policy.observations[0]
    np.testing.assert_array_equal(policy.observations[1]["last_action"], policy.action)
    scheduled.start_episode()
    assert policy.episodes == 3 and len(scheduled.buffer.actions) == 0 and not scheduled.asked


def test_chunk_by_chunk():
    scheduled = Schedule().around(Steady(), execute=8)
    shapes = [scheduled.infer({}).shape for _ in range(4)]
    assert scheduled.asked == [True, False, True, False] and shapes == [(8, 7)] * 4


def test_what_the_controller_does_not_take_is_not_used():
    rising = Steady()
    scheduled = Schedule(strength=1e-6).around(rising, execute=1)
    scheduled.start_episode()
    for i in range(7):  # rotation runs away; the next step would be beyond 1
        rising.action = np.array([0.3, 0.3, 0.3, 0.18 * i, 0, 0, 1], np.float32)
        scheduled.infer({})
    assert all(scheduled.asked)


def test_only_relative_motions_of_a_hand_have_a_velocity():
    policy = Steady()
    policy.robot = ALOHA
    with pytest.raises(InputError, match="relative motions"):
        Schedule().around(policy, 1)
