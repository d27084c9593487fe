from __future__ import annotations

import numpy as np
import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.libero.env import LiberoEnv
from semanticvla_jax.libero.jitter import Jitter, goal_roles, object_groups
from semanticvla_jax.libero.placement import JitteredOfficial, Official, Sampled
from semanticvla_jax.libero.suites import find_task

pytestmark = pytest.mark.sim


@pytest.fixture(scope="module")
def soup():
    env = LiberoEnv(find_task("libero_object", 0), image_size=32)
    yield env
    env.close()


@pytest.fixture(scope="module")
def bowl_in_drawer():
    env = LiberoEnv(find_task("libero_spatial", 4), image_size=32)
    yield env
    env.close()


def positions(env, placement) -> dict[str, np.ndarray]:
    """Body positions (m) right after placing, before settling."""
    placement.apply(env)
    return {name: env.sim.data.body_xpos[body].copy() for name, body in env.env.obj_body_id.items()}


def shifts(env, index, seed, jitter) -> dict[str, np.ndarray]:
    before = positions(env, Official(index))
    after = positions(env, JitteredOfficial(index, seed, jitter))
    return {name: after[name] - before[name] for name in before}


def test_roles_follow_from_the_goal(soup, bowl_in_drawer):
    assert goal_roles(soup) == ({"alphabet_soup_1"}, {"basket_1"})
    assert goal_roles(bowl_in_drawer) == ({"akita_black_bowl_1"}, {"plate_1"})


def test_jitter_moves_everything_within_its_amplitude(soup):
    jitter = Jitter()
    moved = [shifts(soup, 0, seed, jitter) for seed in range(6)]
    for displacement in moved:
        for name, shift in displacement.items():
            limit = {"alphabet_soup_1": 0.06, "basket_1": 0.03}.get(name, 0.01)
            assert 0 < np.abs(shift[:2]).max() <= limit
            assert shift[2] == 0
    targets = np.array([displacement["alphabet_soup_1"][:2] for displacement in moved])
    assert np.ptp(targets, axis=0).min() > 0.03


def test_jitter_moves_the_arm(soup):
    joints = []
    for placement in (Official(0), JitteredOfficial(0, 1), JitteredOfficial(0, 2)):
        placement.apply(soup)
        joints.append(soup.observe(images=False)["joint_state"])
    differences = np.abs([joints[0] - joints[1], joints[0] - joints[2]])
    assert 0.005 < differences.mean() < 0.05


def test_no_jitter_is_the_official_state(soup):
    nothing = Jitter(target=0, container=0, others=0, arm_joints=0)
    for shift in shifts(soup, 5, 1, nothing).values():
        np.testing.assert_array_equal(shift, 0)


def test_things_stay_on_their_support(bowl_in_drawer):
    groups = {group.support: group for group in object_groups(bowl_in_drawer, Jitter())}
    cabinet = groups["wooden_cabinet_1"]
    assert set(cabinet.members) == {"wooden_cabinet_1", "akita_black_bowl_1", "akita_black_bowl_2"}
    assert cabinet.amplitude == 0.03  # its drawer holds the target
    assert groups["flat_stove_1"].amplitude == 0
    displacement = shifts(bowl_in_drawer, 0, 3, Jitter())
    for bowl in ("akita_black_bowl_1", "akita_black_bowl_2"):
        np.testing.assert_allclose(displacement[bowl], displacement["wooden_cabinet_1"], atol=1e-12)
    np.testing.assert_array_equal(displacement["flat_stove_1"], 0)


def test_fixtures_return_when_the_jitter_is_gone(bowl_in_drawer):
    before = positions(bowl_in_drawer, Official(1))
    positions(bowl_in_drawer, JitteredOfficial(0, 3))
    np.testing.assert_equal(positions(bowl_in_drawer, Official(1)), before)


def test_wild_jitter_brings_nothing_into_contact(soup):
    """Amplitudes beyond the objects' spacing: crowded draws are rejected."""
    names = soup.env.objects_dict
    start = positions(soup, Official(0))
    for seed in range(4):
        end = positions(soup, JitteredOfficial(0, seed, Jitter(0.2, 0.2, 0.2)))
        for first in names:
            for second in names:
                if first < second:
                    radii = names[first].horizontal_radius + names[second].horizontal_radius
                    was, now = (
                        np.linalg.norm((scene[first] - scene[second])[:2]) for scene in (start, end)
                    )
                    assert now >= min(was, radii) - 1e-9
        assert not soup.env._check_success()


def test_samples_differ_from_each_other_and_from_official_states(soup):
    scenes = [positions(soup, placement) for placement in (Sampled(0), Sampled(1), Official(0))]
    basket = np.array([scene["basket_1"][:2] for scene in scenes])
    assert min(np.abs(basket[a] - basket[b]).max() for a, b in ((0, 1), (0, 2), (1, 2))) > 1e-4


def test_official_states_end_at_49(soup):
    with pytest.raises(InputError, match="0 to 49"):
        Official(50).apply(soup)


def test_keys_are_unique():
    placements = [
        Official(1),
        Sampled(1),
        Sampled(1, Jitter()),
        Sampled(1, Jitter(target=0.05)),
        JitteredOfficial(1, 0),
        JitteredOfficial(0, 1),
    ]
    assert len({placement.key for placement in placements}) == len(placements)
