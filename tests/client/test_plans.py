"""Plans by hand: which action belongs to which step, overlapping ones, and none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from semanticvla_jax.client.plans import Ensemble, Hold, Newest, Plan, ServerLate


def plan(start: int, *values: float) -> Plan:
    return Plan(start, np.array(values)[:, None])


def test_a_plan_counts_from_its_observation():
    late = plan(10, 0.0, 1.0, 2.0)
    assert [late.covers(step) for step in (9, 10, 12, 13)] == [False, True, True, False]
    assert late.at(12) == [2.0]


def test_newest_takes_the_last():
    assert Newest()([plan(0, 1.0, 2.0), plan(1, 5.0)], 1) == [5.0]


def test_ensemble_weighs_the_oldest_most():
    plans = [plan(0, 0.0, 0.0, 8.0), plan(1, 0.0, 4.0), plan(2, 1.0)]
    # Weights 1, 1/2, 1/4: (8 + 2 + 0.25) / 1.75.
    assert Ensemble(decay=math.log(2))(plans, 2) == pytest.approx([10.25 / 1.75])
    assert Ensemble(decay=0.0)(plans, 2) == pytest.approx([13 / 3])
    assert Ensemble()(plans[:1], 2) == [8.0]


def test_hold_keeps_grippers_and_zeroes_deltas():
    last = np.array([0.3, -0.2, 1.0])
    np.testing.assert_array_equal(Hold(kept=(2,))(last, late=1e9), [0, 0, 1])
    np.testing.assert_array_equal(last, [0.3, -0.2, 1.0])


def test_hold_stops_when_patience_is_over():
    hold = Hold(kept=(), patience=0.5)
    hold(np.zeros(1), late=0.49)
    with pytest.raises(ServerLate, match="0.50 s"):
        hold(np.zeros(1), late=0.5)
    with pytest.raises(ServerLate):
        Hold(kept=(), patience=0)(np.zeros(1), late=0.0)


def test_hold_knows_the_robot():
    delta = {"absolute": False, "grippers": [2], "actions": [{}, {}, {}]}
    assert Hold.on(delta).kept == (2,)
    assert Hold.on({**delta, "absolute": True}).kept == (0, 1, 2)
