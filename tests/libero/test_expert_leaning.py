"""Leaning hands and what they take hold of, with shapes whose answer a person can see."""

from __future__ import annotations

import numpy as np
import pytest

from semanticvla_jax.libero.expert_grasp import RIM_OPENING
from semanticvla_jax.libero.expert_leaning import (
    grip_places,
    plan_leaning_grasp,
    width_between_jaws,
)
from semanticvla_jax.libero.expert_motion import UP, leaning, pointing_down
from tests.libero.box_scene import BoxScene, upright_boxes

EAST, NORTH = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
NOWHERE = np.zeros((0, 3))
RNG = np.random.default_rng(0)  # of no effect on first attempts


def test_a_hand_that_leans_by_30_degrees():
    rotation = leaning(NORTH, np.radians(30))
    # The fingers point down and half as much away from where the hand leans; the jaws stay level.
    np.testing.assert_allclose(rotation[:, 2], [0, -0.5, -np.sqrt(0.75)], atol=1e-12)
    np.testing.assert_allclose(rotation[:, 0], [-1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)


def test_of_two_ways_to_hold_the_jaws_the_hinted_one():
    np.testing.assert_allclose(leaning(NORTH, 0.5, EAST)[:, 0], EAST, atol=1e-12)
    np.testing.assert_allclose(leaning(NORTH, 0.5, -EAST)[:, 0], -EAST, atol=1e-12)
    np.testing.assert_allclose(leaning(NORTH, 0.0, -EAST), pointing_down(np.pi), atol=1e-12)


def test_places_are_the_middle_and_halfway_along_the_longest_side():
    bar = upright_boxes(([0, 0, 0], [0.02, 0.02, 0.08]))
    places = grip_places(bar)
    assert sorted(places[:, 2].round(6)) == [0.02, 0.04, 0.06]
    np.testing.assert_allclose(places[:, :2], 0.01)


def test_width_between_jaws_counts_only_what_the_pads_reach():
    down = pointing_down(0.0)  # jaws along x
    points = np.array([[-0.01, 0, 0], [0.02, 0, 0], [0.03, 0.05, 0], [0.034, 0, 0.1], [0.06, 0, 0]])
    assert width_between_jaws(points, np.zeros(3), down) == pytest.approx(0.03)
    assert width_between_jaws(points, np.array([0, 0, 1.0]), down) == RIM_OPENING


def cup_with_handle():
    """A block of 10 cm, too wide for the jaws, with an upright bar as handle 4 cm to the south."""
    block, bar = ([-0.05, -0.05, 0], [0.05, 0.05, 0.1]), ([-0.01, -0.1, 0.02], [0.01, -0.09, 0.08])
    return upright_boxes(block, bar)


def test_the_handle_is_what_fits():
    scene = BoxScene(cup_with_handle(), upright_boxes())
    grasp = plan_leaning_grasp(scene, "cup", RNG, leaning(-NORTH, np.radians(60)), NOWHERE)
    np.testing.assert_allclose(grasp.position[:2], [0, -0.095], atol=1e-9)
    assert grasp.hits == 0


def test_the_hand_must_be_free_where_the_object_goes():
    """Two posts of one object; a wall at the goal would be in the way of a hand at the east one."""
    posts = upright_boxes(([-0.11, 0, 0], [-0.1, 0.01, 0.1]), ([0.1, 0, 0], [0.11, 0.01, 0.1]))
    scene = BoxScene(posts, upright_boxes(([0.15, 0.9, 0.0], [0.3, 1.1, 0.4])))
    grasp = plan_leaning_grasp(scene, "posts", RNG, leaning(-NORTH, 0.5), NORTH[None])
    assert grasp.position[0] < 0 and grasp.hits == 0
    mirrored = BoxScene(posts, upright_boxes(([-0.3, 0.9, 0.0], [-0.15, 1.1, 0.4])))
    grasp = plan_leaning_grasp(mirrored, "posts", RNG, leaning(-NORTH, 0.5), NORTH[None])
    assert grasp.position[0] > 0 and grasp.hits == 0


def test_leaning_keeps_the_palm_from_under_an_overhang():
    """A bar on the floor, 5 cm north of the front of a shelf at 16 cm: an upright hand touches."""
    scene = BoxScene(
        upright_boxes(([-0.005, -0.01, 0], [0.005, 0.01, 0.05])),
        upright_boxes(([-0.3, -0.4, 0.14], [0.3, -0.02, 0.2])),
    )
    upright = plan_leaning_grasp(scene, "bar", RNG, pointing_down(np.pi), NOWHERE)
    away = plan_leaning_grasp(scene, "bar", RNG, leaning(NORTH, np.radians(30)), NOWHERE)
    assert upright.hits > 0 and away.hits == 0
    assert away.rotation[:, 2] @ UP < 0
