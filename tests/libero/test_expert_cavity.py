"""The geometry of a microwave made of five boxes, open to the south."""

from __future__ import annotations

import numpy as np
import pytest

from semanticvla_jax.libero.expert_cavity import (
    RAY_LENGTH,
    free_length,
    is_roofed,
    opening_side,
    spot_inside,
)
from semanticvla_jax.libero.expert_containers import leave_overhang, overhangs
from semanticvla_jax.libero.expert_motion import UP, Arm, leaning
from tests.libero.box_scene import BoxScene, upright_boxes

SOUTH = np.array([0, -1.0, 0])
FLOOR, ROOF = ([-0.2, 0, 0], [0.2, 0.3, 0.05]), ([-0.2, 0, 0.25], [0.2, 0.3, 0.3])
WEST, EAST = ([-0.2, 0, 0], [-0.15, 0.3, 0.3]), ([0.05, 0, 0], [0.2, 0.3, 0.3])
BACK = ([-0.2, 0.25, 0], [0.2, 0.3, 0.3])
REGION = ([-0.14, 0.02, 0.06], [0.16, 0.22, 0.24])
CUP = upright_boxes(([1.0, 1.0, 0.4], [1.1, 1.1, 0.5]), ([1.04, 0.96, 0.42], [1.06, 1.0, 0.48]))


def microwave(*walls) -> BoxScene:
    return BoxScene(CUP, upright_boxes(*walls), REGION)


def test_rays_end_at_walls():
    scene = microwave(FLOOR, ROOF, WEST, EAST, BACK)
    middle = scene.region_middle  # (0.01, 0.12, 0.15)
    assert free_length(scene.walls, middle, UP) == pytest.approx(0.10, abs=0.006)
    assert free_length(scene.walls, middle, SOUTH) == RAY_LENGTH


def test_a_cavity_has_a_roof_and_a_basket_none():
    assert is_roofed(microwave(FLOOR, ROOF, WEST, EAST, BACK), "region")
    assert not is_roofed(microwave(FLOOR, WEST, EAST, BACK), "region")


def test_the_opening_is_where_there_is_no_wall():
    scene = microwave(FLOOR, ROOF, WEST, EAST, BACK)
    np.testing.assert_allclose(opening_side(scene, scene.walls, "region"), SOUTH)
    front = ([-0.2, -0.05, 0], [0.2, 0, 0.3])
    turned = microwave(FLOOR, ROOF, WEST, front, BACK)
    np.testing.assert_allclose(opening_side(turned, turned.walls, "region"), [1, 0, 0])


def test_the_spot_is_midway_between_the_walls_and_just_inside():
    scene = microwave(FLOOR, ROOF, WEST, EAST, BACK)
    spot = spot_inside(scene, scene.walls, "cup", "region", SOUTH)
    # Walls at x = -0.15 and 0.05. The region's south face is y = 0.02; of the cup (with its handle
    # 14 cm deep) 7 cm are south of its origin. The floor's top is z = 0.05.
    assert spot[0] == pytest.approx(-0.05, abs=0.006)
    assert spot[1] == pytest.approx(0.09)
    assert spot[2] == pytest.approx(0.05, abs=0.006)


def test_what_is_high_and_near_overhangs():
    drawer = upright_boxes(([0.05, -1, 0.15], [1, 1, 0.2]))
    assert overhangs(drawer, np.array([0, 0, 0.0]))  # 5 cm beside it, 20 cm above
    assert not overhangs(drawer, np.array([-0.1, 0, 0.0]))  # 15 cm beside it
    assert not overhangs(drawer, np.array([0, 0, 0.12]))  # only 8 cm above


def test_a_held_object_leaves_the_overhang_level_before_it_is_raised():
    class Held(BoxScene):
        hand_position, hand_rotation = np.array([0.1, 0, 0.05]), leaning(-UP[[2, 1, 0]], 0.5)

        def object_position(self, name):
            return self.hand_position - [0, 0, 0.05]

    scene = Held(CUP, upright_boxes(([0.05, -1, 0.15], [1, 1, 0.2])))
    west = np.array([-1.0, 0, 0])
    for action in leave_overhang(Arm(scene, None), "cup", scene.hand_rotation, west):
        assert action[0] < 0 and action[2] == pytest.approx(0)
        scene.hand_position = scene.hand_position + 0.015 * action[:3]
    # Out when 8 cm lie between the object and the overhang's edge at x = 0.05.
    assert -0.05 < scene.hand_position[0] < -0.03
