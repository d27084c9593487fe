"""Spread of states by hand, the table on disk, and blind replay in the simulator."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.libero import blind_replay, initial_spread, variation
from semanticvla_jax.libero.env import LiberoEnv
from semanticvla_jax.libero.expert_motion import pointing_down
from semanticvla_jax.libero.placement import Official
from semanticvla_jax.libero.suites import find_task, suite_tasks

ROW = variation.Variation(
    suite="libero_goal", index=8, task="put_the_bowl_on_the_plate", states=50,
    goal_cm=2.11, goal_deg=0.0, goal={"bowl": [1.25, 2.11, 0.0]}, others_cm=2.46,
    drawer_cm=0.0, door_deg=0.0, arm_deg=1.15, source=47, replays=10, official=7, jittered=1,
)  # fmt: skip


def snapshots(**positions):
    return initial_spread.Snapshots(
        positions={name: np.array(values, float) for name, values in positions.items()},
        headings={name: np.zeros(len(values)) for name, values in positions.items()},
        drawers=np.zeros((3, 0)), doors=np.zeros((3, 0)), arm=np.zeros((3, 7)),
    )  # fmt: skip


def test_the_package_knows_all_forty_tasks_by_name():
    suites = variation.FOUR_SUITES.split(",")
    measured = {(row.suite, row.task) for row in variation.read_table(variation.TABLE)}
    assert measured == {(suite, task.name) for suite in suites for task in suite_tasks(suite)}
    assert len(measured) == 40


def test_spread_of_three_places():
    # Mean (0, 0): distances 3, 3 and 0 cm; their root mean square is sqrt(6).
    seen = snapshots(bowl=[[0.03, 0], [-0.03, 0], [0, 0]])
    assert dataclasses.astuple(seen.spread("bowl")) == pytest.approx((np.sqrt(6), 3, 0))


def test_most_central_state_weighs_all_named_things():
    seen = snapshots(bowl=[[3, 0], [-3, 0], [0, 0]], plate=[[0, 0], [0, 0.1], [0, 9.0]])
    assert seen.most_central(["bowl"])[0] == 2
    # Squares with the plate's: 9 + 9.2, 9 + 8.6, 0 + 35.6.
    assert seen.most_central(["bowl", "plate"]) == [1, 0, 2]


def test_headings_of_things_that_lie_on_any_side():
    lying = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0.0]])

    def about_z(angle):
        c, s = np.cos(angle), np.sin(angle)
        return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ lying

    angles = np.array([0.0, 0.3, -2.0])
    turned = np.array([about_z(angle) for angle in angles])
    np.testing.assert_allclose(initial_spread.headings_of(turned), angles, atol=1e-12)
    upside_down = np.array([pointing_down(0.1), pointing_down(0.5)])
    np.testing.assert_allclose(initial_spread.headings_of(upside_down), [0, 0.4], atol=1e-12)


def test_turns_are_small_across_the_half_turn():
    np.testing.assert_allclose(initial_spread.turns(np.radians([179, -179])), np.radians([1, 1]))


def test_largest_deviation_of_no_drawer_is_zero():
    assert initial_spread.largest_deviation(np.zeros((5, 0))) == 0
    assert initial_spread.largest_deviation(np.array([[0.0, 1], [0.0, 3]])) == 1


def test_table_round_trip_and_damage(tmp_path):
    path = tmp_path / "table.json"
    assert variation.read_table(path) == ()
    other = dataclasses.replace(ROW, suite="libero_10", source=None)
    variation.write_table(path, [ROW, other])
    assert variation.read_table(path) == (other, ROW)
    for damage in ("{", "[]", '{"tasks": [{"suite": "libero_goal"}]}'):
        path.write_text(damage)
        with pytest.raises(InputError, match="measure again"):
            variation.read_table(path)


def test_command_keeps_what_is_measured_and_refuses_unknown_suites(tmp_path, monkeypatch, capsys):
    measured = []

    def measure(task, states, replays):
        measured.append(task.index)
        return dataclasses.replace(ROW, suite=task.suite, index=task.index, task=task.name)

    monkeypatch.setattr(variation, "measure", measure)
    command = ["--suites", "libero_goal", "--out", str(tmp_path / "table.json"), "--tasks"]
    assert variation.main([*command, "3"]) == 0
    assert variation.main([*command, "3,8"]) == 0
    assert measured == [3, 8]
    assert [row["index"] for row in json.loads((tmp_path / "table.json").read_text())["tasks"]] == [
        3,
        8,
    ]
    assert "7/10" in capsys.readouterr().out
    assert variation.main(["--suites", "nowhere", "--out", str(tmp_path / "other.json")]) == 2


@pytest.mark.sim
def test_replay_succeeds_where_it_was_recorded_and_not_elsewhere():
    env = LiberoEnv(find_task("libero_goal", 1))
    try:
        index, actions = blind_replay.first_demonstration(env, [3])
        assert index == 3 and actions.shape[1] == 7
        assert blind_replay.replay(env, actions, Official(3))
        assert not blind_replay.replay(env, actions[: len(actions) // 3], Official(3))
        shifted = initial_spread.take_snapshots(env, 2)
        relevant = initial_spread.goal_things(env)
    finally:
        env.close()
    assert relevant == ["akita_black_bowl_1", "flat_stove_1"]
    bowl = shifted.spread("akita_black_bowl_1")
    assert 0 < bowl.rms_cm == pytest.approx(bowl.max_cm) and bowl.max_cm < 5
