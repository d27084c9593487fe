"""Grasps of shapes whose best grasp a person can see."""

from __future__ import annotations

import numpy as np
import pytest

from semanticvla_jax.libero.expert_grasp import (
    HOME_YAW,
    MAX_JAW_WIDTH,
    RIM_DEPTH,
    hand_samples,
    is_rim_object,
    out_of_reach,
    rim_candidates,
    solid_candidates,
    top_grasp,
    yaw_between,
)
from semanticvla_jax.libero.expert_motion import pointing_down
from semanticvla_jax.libero.expert_scene import unit_grid


def free(points) -> int:
    return 0


def best(candidates):
    return min(candidates, key=lambda candidate: candidate[0])[1]


def box_points(halves, yaw=0.0, center=(0.0, 0.0, 0.0)):
    c, s = np.cos(yaw), np.sin(yaw)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return (unit_grid(9) * halves) @ turn.T + center


def ring_points(radius, height):
    angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius
    return np.concatenate(
        [np.column_stack([ring, np.full(len(ring), z)]) for z in np.linspace(0, height, 12)]
    )


def test_a_box_is_taken_across_its_narrow_side():
    # 40 mm by 160 mm: only jaws along the narrow axis fit, here at 60 degrees.
    points = box_points([0.02, 0.08, 0.03], yaw=np.radians(60), center=[0.1, -0.2, 0.03])
    grasp = best(solid_candidates(points, free))
    assert np.degrees(grasp.yaw) == pytest.approx(60)
    assert grasp.width == pytest.approx(0.04)
    np.testing.assert_allclose(grasp.position[:2], [0.1, -0.2], atol=1e-9)
    assert 0.013 <= grasp.position[2] <= 0.06


def test_a_box_wider_than_the_jaws_has_no_solid_grasp():
    points = box_points([0.05, 0.05, 0.03])
    assert 0.10 > MAX_JAW_WIDTH and solid_candidates(points, free) == []
    np.testing.assert_allclose(top_grasp(points).position[:2], 0, atol=1e-12)


def test_a_bowl_is_taken_by_its_rim_at_home_yaw():
    grasp = best(rim_candidates(ring_points(0.05, 0.06), free))
    assert grasp.yaw == pytest.approx(HOME_YAW)
    np.testing.assert_allclose(grasp.position, [0, 0.05, 0.06 - RIM_DEPTH], atol=1e-3)


def test_an_obstacle_turns_the_rim_grasp_away():
    def wall_at_plus_y(points) -> int:
        return int((points[:, 1] > 0.06).sum())

    grasp = best(rim_candidates(ring_points(0.05, 0.06), wall_at_plus_y))
    chosen = hand_samples(grasp.position, grasp.rotation, 0.07)
    undisturbed = hand_samples(np.array([0, 0.05, 0.04]), pointing_down(HOME_YAW), 0.07)
    assert wall_at_plus_y(chosen) < wall_at_plus_y(undisturbed)
    assert grasp.position[1] < 0.02


def test_yaw_distance_knows_the_half_turn():
    assert yaw_between(np.radians(270), np.radians(90)) == pytest.approx(0)
    assert yaw_between(np.radians(0), np.radians(90)) == pytest.approx(np.pi / 2)
    assert yaw_between(np.radians(100), np.radians(-90)) == pytest.approx(np.radians(10))


def test_reach_is_measured_at_the_wrist():
    # Wrist 0.21 m above the grip site and 0.088 m inward: 0.712 m from the shoulder, limit 0.65 m.
    assert out_of_reach(np.array([0.0, 0.8, -0.21]), np.zeros(3)) == pytest.approx(0.062)
    assert out_of_reach(np.array([0.5, 0, -0.21]), np.zeros(3)) == 0.0


def test_rim_objects_by_name():
    assert is_rim_object("akita_black_bowl_1") and is_rim_object("white_yellow_mug_1")
    assert not is_rim_object("alphabet_soup_1")
