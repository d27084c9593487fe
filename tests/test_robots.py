"""Robots: their parts agree with each other, and signs are right."""

from __future__ import annotations

import numpy as np
import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.robots import ALOHA, LIBERO, ROBOTS, find_robot


@pytest.mark.parametrize("robot", ROBOTS.values(), ids=lambda robot: robot.name)
def test_parts_agree(robot):
    grouped = [index for indices in robot.action_groups.values() for index in indices]
    assert grouped == list(range(robot.action_size))
    assert len(robot.action_normalised) == robot.action_size
    assert sum(map(len, robot.action_kinds.values())) == robot.action_size
    assert list(robot.action_kinds) == ["translation", "rotation", "gripper"]
    assert find_robot(robot.name) is robot


def test_sizes_of_the_released_platforms():
    assert (LIBERO.state_size, LIBERO.action_size, LIBERO.chunk_length) == (8, 7, 8)
    assert (ALOHA.state_size, ALOHA.action_size, ALOHA.chunk_length) == (14, 14, 25)
    assert LIBERO.camera_names == ("image", "wrist_image")
    assert ALOHA.action_kinds["gripper"] == (6, 13)


def test_libero_gripper_signs():
    stored = np.zeros((3, 7))
    stored[:, 6] = [-1, 1, 0]  # open, close, in between
    training = LIBERO.gripper.to_training(stored)
    assert training[:, 6].tolist() == [1, 0, 1]
    assert stored[:, 6].tolist() == [-1, 1, 0]  # the input is left alone
    predicted = np.zeros((3, 7))
    predicted[:, 6] = [0.9, 0.1, 0.5]
    assert LIBERO.gripper.to_environment(predicted)[:, 6].tolist() == [-1, 1, 0]


def test_aloha_grippers_pass_unchanged():
    actions = np.random.default_rng(0).uniform(size=(2, 14))
    assert ALOHA.gripper.to_environment(ALOHA.gripper.to_training(actions)) is actions


def test_unknown_robot_lists_the_choices():
    with pytest.raises(InputError, match="'ur5', expected one of libero, aloha"):
        find_robot("ur5")
