"""The scripted expert in the simulator: it succeeds although its actions are disturbed."""

from __future__ import annotations

import numpy as np
import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.libero import expert_table
from semanticvla_jax.libero.env import LiberoEnv
from semanticvla_jax.libero.expert import ScriptedExpert, in_order
from semanticvla_jax.libero.expert_table import run_episode
from semanticvla_jax.libero.placement import Official, Sampled
from semanticvla_jax.libero.suites import find_task

pytestmark = pytest.mark.sim


@pytest.fixture(scope="module")
def soup_env():
    env = LiberoEnv(find_task("libero_object", 0))
    yield env
    env.close()


def test_puts_the_soup_into_the_basket_despite_noise(soup_env):
    episode = run_episode(soup_env, Official(0), noise=0.2, seed=0)
    assert episode.succeeded and episode.steps < 180


def test_puts_the_bowl_onto_the_plate_despite_noise():
    env = LiberoEnv(find_task("libero_spatial", 7))
    try:
        episode = run_episode(env, Official(0), noise=0.2, seed=0)
    finally:
        env.close()
    assert episode.succeeded and episode.steps < 180


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "task", "index"),
    [
        pytest.param("libero_goal", 3, 4, id="from under a drawer that it opened, into it"),
        pytest.param("libero_goal", 5, 0, id="drags the plate"),
        pytest.param("libero_10", 2, 0, id="turns the knob, then cooks"),
        pytest.param("libero_10", 3, 0, id="into the drawer, shuts it"),
        pytest.param("libero_10", 9, 0, id="into the microwave, shuts it"),
        pytest.param("libero_10", 1, 4, id="two objects, one close to the basket"),
    ],
)
def test_every_family_of_skills_reaches_its_goal(suite, task, index):
    env = LiberoEnv(find_task(suite, task))
    try:
        episode = run_episode(env, Official(index), noise=0.0, seed=index)
    finally:
        env.close()
    assert episode.succeeded, episode.failures


def test_actions_are_clean_and_follow_from_state_and_generator(soup_env):
    def first_actions(count=15):
        soup_env.reset(Sampled(5))
        actions = []
        for _, action in zip(
            range(count), ScriptedExpert(soup_env, np.random.default_rng(3)).actions(), strict=False
        ):
            assert action.shape == (7,) and action.dtype == np.float64
            assert np.abs(action).max() <= 1.0
            actions.append(action)
            soup_env.step(action)
        return np.array(actions)

    np.testing.assert_array_equal(first_actions(), first_actions())


def test_the_plan_ends_where_nothing_moves(soup_env):
    """A hand that never arrives runs into the time-outs of every phase and gives up."""
    soup_env.reset(Official(1))
    expert = ScriptedExpert(soup_env, np.random.default_rng(0))
    count = sum(1 for _ in expert.actions())
    assert 0 < count < 2000
    assert expert.failures and "missed" in expert.failures[0]


def test_closing_comes_last_and_unknown_predicates_are_refused():
    goals = [["close", "drawer"], ["in", "bowl", "drawer"], ["turnon", "stove"]]
    assert [goal[0] for goal in in_order(goals)] == ["in", "turnon", "close"]
    with pytest.raises(InputError, match="stack"):
        in_order([["stack", "bowl", "plate"]])


def test_table_prints_rows_and_refuses_unknown_suites(soup_env, monkeypatch, capsys):
    episodes = [
        expert_table.Episode(True, 100, ()),
        expert_table.Episode(False, 280, ("pick soup: missed 3 times", "out of steps")),
    ]
    monkeypatch.setattr(expert_table, "run_task", lambda job: (job[0], episodes))
    assert expert_table.main(["--suites", "libero_object", "--tasks", "0", "--episodes", "2"]) == 0
    printed = capsys.readouterr().out
    assert "1/2" in printed and "missed 3 times" in printed and "TOTAL libero_object" in printed
    assert expert_table.main(["--suites", "libero_nowhere"]) == 2
    assert "libero_nowhere" in capsys.readouterr().err
