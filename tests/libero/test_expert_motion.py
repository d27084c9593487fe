"""The servo law's numbers, by hand, and the motions in a world where actions act at once."""

from __future__ import annotations

import numpy as np
import pytest

from semanticvla_jax.libero.expert_motion import (
    CLOSED,
    OPEN,
    Arm,
    axis_angle,
    closest_equivalent_yaw,
    jaw_yaw,
    pointing_down,
    servo_action,
)
from semanticvla_jax.libero.expert_scene import Boxes

HOME = pointing_down(np.pi / 2)


class FakeScene:
    """A hand that moves by 15 mm per unit action, as LIBERO's does, among given boxes."""

    def __init__(self, position, boxes: Boxes | None = None) -> None:
        self.hand_position, self.hand_rotation = np.array(position, float), HOME
        self.boxes = boxes or Boxes(np.zeros((0, 3)), np.zeros((0, 3, 3)), np.zeros((0, 3)))

    def obstacles(self, except_objects=()) -> Boxes:
        return self.boxes


def run(scene, motion, steps_limit=500):
    """Steps a motion to its end; returns its outcome and the hand's path f64[T, 3]."""
    path = [scene.hand_position]
    for _ in range(steps_limit):
        try:
            action = next(motion)
        except StopIteration as end:
            return end.value, np.array(path)
        assert action.shape == (7,) and np.abs(action).max() <= 1.0
        scene.hand_position = scene.hand_position + 0.015 * action[:3]
        path.append(scene.hand_position)
    raise AssertionError("the motion does not end")


def test_servo_is_proportional_and_keeps_its_direction_when_limited():
    # 10 mm of error: 2 * 0.010 / 0.05 = 0.4; 0.1 rad: 1.5 * 0.1 / 0.5 = 0.3.
    action = servo_action(np.array([0.01, 0, -0.005]), np.array([0, 0.1, 0]), OPEN)
    np.testing.assert_allclose(action, [0.4, 0, -0.2, 0, 0.3, 0, -1])
    # (0.1, 0.05, 0) m would ask for (4, 2, 0): scaled to a largest component of 0.8.
    action = servo_action(np.array([0.1, 0.05, 0]), np.array([0, 0, -9.0]), CLOSED, speed=0.8)
    np.testing.assert_allclose(action, [0.8, 0.4, 0, 0, 0, -1, 1])


def test_hand_orientations():
    np.testing.assert_allclose(HOME, [[0, 1, 0], [1, 0, 0], [0, 0, -1]], atol=1e-12)
    assert jaw_yaw(pointing_down(0.3)) == pytest.approx(0.3)
    turn = pointing_down(1.0) @ pointing_down(0.8).T
    np.testing.assert_allclose(axis_angle(turn), [0, 0, 0.2], atol=1e-12)
    # Half-turns of the jaws are equivalent: from 90 degrees, 170 is nearer than -10.
    assert closest_equivalent_yaw(np.radians(-10), HOME) == pytest.approx(np.radians(170))


def test_goto_arrives_in_a_straight_line():
    scene = FakeScene([0, 0, 0.2])
    arrived, path = run(scene, Arm(scene, None).goto(np.array([0.3, 0.1, 0.2]), HOME))
    assert arrived
    assert np.linalg.norm(path[-1] - [0.3, 0.1, 0.2]) < 0.008
    np.testing.assert_allclose(path[:, 1], path[:, 0] / 3, atol=1e-9)


def test_goto_gives_up_where_nothing_moves():
    class Stuck(FakeScene):
        hand_position = property(lambda self: np.zeros(3), lambda self, value: None)

    scene = Stuck([0, 0, 0])
    arrived, path = run(scene, Arm(scene, None).goto(np.ones(3), HOME))
    assert arrived is False and len(path) < 12


def test_approach_waits_until_the_hand_is_above():
    scene = FakeScene([0.05, 0, 0.06])
    arrived, path = run(scene, Arm(scene, None).approach(np.zeros(3), HOME))
    assert arrived
    low = path[path[:, 2] < 0.02]
    assert np.abs(low[:, 0]).max() < 0.02


def test_hold_counts_its_steps():
    scene = FakeScene([0, 0, 0])
    arm = Arm(scene, None)
    arm.gripper = CLOSED
    actions = list(arm.hold(3, HOME))
    assert len(actions) == 3 and all(action[6] == CLOSED for action in actions)


def test_transit_clears_a_wall():
    wall = Boxes(np.array([[0.15, 0, 0.1]]), np.eye(3)[None], np.array([[0.01, 0.3, 0.1]]))
    scene = FakeScene([0, 0, 0.05], wall)
    arrived, path = run(
        scene, Arm(scene, None).transit(np.array([0.3, 0.0]), HOME, lowest_height=0.05)
    )
    assert arrived
    over = path[np.abs(path[:, 0] - 0.15) < 0.03]
    assert over[:, 2].min() > 0.2  # top of the wall
    assert path[-1, 2] < 0.25


def test_boxes_count_points_and_tops():
    turned = pointing_down(np.pi / 4)
    boxes = Boxes(np.array([[0, 0, 0.5]]), turned[None], np.array([[0.1, 0.01, 0.05]]))
    along = np.array([np.cos(np.pi / 4), np.sin(np.pi / 4), 0])
    points = np.array([0.09 * along, 0.11 * along, [0.09, 0, 0]]) + [0, 0, 0.5]
    assert boxes.count_inside(points) == 1
    assert boxes.highest_top(np.zeros(2), 0.0) == pytest.approx(0.55)
    assert boxes.highest_top(np.ones(2), 0.1) == -np.inf
