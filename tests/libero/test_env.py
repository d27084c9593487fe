from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.libero.env import LiberoEnv, validate_action
from semanticvla_jax.libero.jitter import Jitter
from semanticvla_jax.libero.placement import JitteredOfficial, Official, Sampled
from semanticvla_jax.libero.rendering import FAST, ORIGINAL
from semanticvla_jax.libero.suites import find_task, official_states

pytestmark = pytest.mark.sim

TASK = find_task("libero_object", 0)
ACTIONS = np.clip(np.random.default_rng(0).normal(0, 0.6, (12, 7)), -1, 1)


@pytest.fixture(scope="module")
def env():
    env = LiberoEnv(TASK, image_size=48, rendering=FAST)
    yield env
    env.close()


def trajectory(env, placement, *, looking: bool = False) -> np.ndarray:
    env.reset(placement)
    states = [env.sim.get_state().flatten()]
    for action in ACTIONS:
        if looking:
            env.observe()
        env.step(action)
        states.append(env.sim.get_state().flatten())
    return np.array(states)


@pytest.mark.parametrize("placement", [Official(3), Sampled(7, Jitter()), JitteredOfficial(3, 1)])
def test_a_placement_gives_one_trajectory_whatever_ran_before(env, placement):
    first = trajectory(env, placement)
    trajectory(env, Sampled(1, Jitter()))
    for _ in range(5):
        env.step(np.ones(7))
    np.testing.assert_array_equal(trajectory(env, placement, looking=True), first)


def test_a_soft_reset_equals_a_fresh_environment(env):
    """And physics does not depend on rendering settings, which stay within one environment."""
    expected = trajectory(env, Official(2))
    image = env.observe()["image"]
    other = LiberoEnv(TASK, image_size=48, rendering=ORIGINAL)
    np.testing.assert_array_equal(trajectory(other, Official(2)), expected)
    difference = np.abs(other.observe()["image"].astype(int) - image).max()
    other.close()
    assert difference > 10
    np.testing.assert_array_equal(env.observe()["image"], image)


def test_episode_starts_after_ten_settle_steps_with_the_gripper_open(env):
    env.reset(Official(0))
    assert env.sim.data.time - official_states(TASK)[0][0] == pytest.approx(10 * 0.05)
    left, right = env.observe(images=False)["state"][6:]
    assert left > 0.038 and right < -0.038


def test_observation_layout_of_the_public_datasets(env):
    env.reset(Official(0))
    observation = env.observe()
    assert {name: (value.shape, value.dtype.name) for name, value in observation.items()} == {
        "image": ((48, 48, 3), "uint8"),
        "wrist_image": ((48, 48, 3), "uint8"),
        "state": ((8,), "float32"),
        "joint_state": ((7,), "float32"),
    }
    assert set(env.observe(images=False)) == {"state", "joint_state"}


def test_state_is_position_axis_angle_and_gripper(env):
    from robosuite.utils.transform_utils import axisangle2quat, quat2mat

    env.reset(Official(0))
    for action in ACTIONS:
        env.step(action)
    state, data = env.observe(images=False)["state"], env.sim.data._data
    np.testing.assert_allclose(state[:3], data.site("gripper0_grip_site").xpos, atol=1e-6)
    rotation = quat2mat(axisangle2quat(state[3:6].astype(float)))
    hand = data.body("robot0_right_hand").xmat.reshape(3, 3)
    np.testing.assert_allclose(rotation, hand, atol=1e-5)
    fingers = [data.joint(f"gripper0_finger_joint{i}").qpos[0] for i in (1, 2)]
    np.testing.assert_allclose(state[6:], fingers, atol=1e-6)


def test_axis_angle_passes_half_a_turn_without_a_jump(env):
    """The hand points down: the rotation angle is about pi, where a sign convention would flip."""
    env.reset(Official(0))
    angles = []
    for sign in (1, -1, -1, 1):
        for _ in range(8):
            env.step(np.array([0, 0, 0.3, sign, 0, 0, -1]))
            angles.append(env.observe(images=False)["state"][3:6])
    lengths = np.linalg.norm(angles, axis=1)
    assert lengths.min() < np.pi < lengths.max()
    assert np.abs(np.diff(angles, axis=0)).max() < 0.2


def test_images_are_robosuites_turned_by_half_a_turn(env):
    from robosuite.utils.binding_utils import MjRenderContextOffscreen

    env.reset(Official(0))
    context = MjRenderContextOffscreen(env.sim, device_id=-1)  # runs a forward pass
    observation = env.observe()
    context.vopt.geomgroup[0] = 0
    for name, camera in (("image", "agentview"), ("wrist_image", "robot0_eye_in_hand")):
        raw = env.sim.render(width=48, height=48, camera_name=camera)
        np.testing.assert_array_equal(observation[name], np.rot90(raw, 2))


def test_larger_images_than_the_framebuffer(env):
    assert env.render("frontview", size=700).shape == (700, 700, 3)


def test_global_random_state_is_left_alone(env):
    np.random.seed(5)
    expected = np.random.random()
    np.random.seed(5)
    env.reset(Sampled(3))
    assert np.random.random() == expected


@pytest.mark.parametrize("action", [np.zeros(6), np.zeros((1, 7)), 0.0])
def test_action_of_wrong_shape(action):
    with pytest.raises(InputError, match=r"expected shape \(7,\)"):
        validate_action(action)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_action_that_is_not_finite(env, bad):
    with pytest.raises(InputError, match="finite"):
        env.step(np.array([0, 0, bad, 0, 0, 0, -1]))


def test_state_of_another_scene(env):
    with pytest.raises(InputError, match="shape"):
        env.set_state(np.zeros(12))


def test_boot_needs_no_keyboard_and_prints_nothing():
    code = (
        "from semanticvla_jax.libero.boot import boot; boot(); import sys, libero.libero.envs;"
        "assert not {'torch', 'tensorflow'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "" and "macro" not in done.stderr


@pytest.mark.parametrize("name", [("libero_object", 0), ("libero_goal", 7), ("libero_10", 9)])
def test_a_step_is_robosuites_bit_for_bit(name):
    """From the pose an episode starts with, through contacts, under actions that are clipped."""
    env = LiberoEnv(find_task(*name), image_size=48)
    down = np.random.default_rng(1).normal((0.3, 0, -0.6, 0, 0, 0, 0), 0.6, (25, 7))

    def states(step) -> np.ndarray:
        Official(4).apply(env)
        data = env.sim.data._data
        return np.array(
            [(step(a), *env.sim.get_state().flatten(), *data.qacc_warmstart) for a in down]
        )

    ours = states(env.step)
    np.testing.assert_array_equal(ours, states(lambda action: env.env.step(action)[2]))
    env.close()
