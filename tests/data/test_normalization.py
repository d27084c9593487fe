"""Statistics and normalisation: hand numbers, invariants, the released numbers."""

from __future__ import annotations

import json

import hypothesis.extra.numpy as npst
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from semanticvla_jax.data import normalization
from semanticvla_jax.data.normalization import Bounds, DatasetStatistics, Statistics
from semanticvla_jax.errors import InputError
from semanticvla_jax.robots import LIBERO

BOUNDS = Bounds(
    low=np.array([0.0, -2.0, 5.0, 0.0]),
    high=np.array([10.0, 2.0, 5.0, 1.0]),
    mask=np.array([True, True, True, False]),
    constant=np.array([False, False, True, False]),
)


def test_hand_numbers():
    raw = np.array([[5.0, 2.0, 5.0, 0.7], [0.0, -3.0, 9.0, 1.0]])
    expected = [[0.0, 1.0, 0.0, 0.7], [-1.0, -1.0, 0.0, 1.0]]
    np.testing.assert_allclose(BOUNDS.normalize(raw), expected, atol=1e-7)
    normalised = np.array([0.5, -1.0, 0.3, 0.7])
    np.testing.assert_allclose(BOUNDS.unnormalize(normalised), [7.5, -2.0, 5.0, 0.7], atol=1e-7)


def test_inference_has_no_case_for_constant_dims():
    """The released inference code divides by 1e-8 there: -1 at the constant, +1 above it."""
    assert BOUNDS.normalize_unguarded(np.array([0, 0, 5.0, 0]))[2] == -1
    assert BOUNDS.normalize_unguarded(np.array([0, 0, 5.1, 0]))[2] == 1


@given(npst.arrays(np.float64, (3, 4), elements=st.floats(-100, 100)))
def test_normalised_values_stay_in_range_and_come_back(raw):
    normalised = BOUNDS.normalize(raw)
    assert np.abs(normalised[:, :3]).max() <= 1
    np.testing.assert_array_equal(normalised[:, 3], raw[:, 3])
    inside = np.clip(raw[:, :2], BOUNDS.low[:2], BOUNDS.high[:2])
    np.testing.assert_allclose(BOUNDS.unnormalize(normalised)[:, :2], inside, atol=1e-6)


def test_statistics_of_known_values():
    values = np.stack([np.arange(101), np.full(101, 3)], 1).astype(np.float32)
    statistics = Statistics.of(values, [True, False])
    assert statistics.q01.tolist() == [1, 3] and statistics.q99.tolist() == [99, 3]
    assert statistics.min.tolist() == [0, 3] and statistics.max.tolist() == [100, 3]
    assert statistics.mean.tolist() == [50, 3] and statistics.std[1] == 0
    quantiles, extremes = statistics.bounds("bounds_q99"), statistics.bounds("bounds")
    assert (quantiles.low[0], quantiles.high[0]) == (1, 99)
    assert (extremes.low[0], extremes.high[0]) == (0, 100)
    assert quantiles.constant.tolist() == [False, True]
    with pytest.raises(InputError, match="bounds_q99"):
        statistics.bounds("zscore")


def libero_statistics() -> DatasetStatistics:
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (50, 7)).astype(np.float32)
    actions[:, 6] = np.where(np.arange(50) < 10, -1, 1)
    return DatasetStatistics.of(LIBERO, rng.normal(size=(50, 8)).astype(np.float32), actions, 4)


def test_statistics_are_taken_after_the_gripper_transform():
    action = libero_statistics().action
    assert action.mean[6] == pytest.approx(0.2)  # open (1) in 10 of 50 steps
    assert action.mask.tolist() == [True] * 6 + [False]


def test_json_has_the_released_layout_and_comes_back(tmp_path):
    statistics = {"libero_object_no_noops": libero_statistics()}
    normalization.save(statistics, tmp_path / "dataset_statistics.json")
    stored = json.loads((tmp_path / "dataset_statistics.json").read_text())
    entry = stored["libero_object_no_noops"]
    assert set(entry) == {"action", "proprio", "num_transitions", "num_trajectories"}
    assert set(entry["action"]) == {"mean", "std", "max", "min", "q01", "q99", "mask"}
    assert (entry["num_transitions"], entry["num_trajectories"]) == (50, 4)
    loaded = normalization.load(tmp_path / "dataset_statistics.json")
    assert normalization.to_json(loaded) == stored


def test_statistics_that_are_missing_or_malformed(tmp_path):
    with pytest.raises(InputError, match="dataset_statistics.json"):
        normalization.load(tmp_path / "absent.json")
    stored = normalization.to_json({"a": libero_statistics()})
    del stored["a"]["action"]["q99"]
    with pytest.raises(InputError, match="action statistics of a.*expected q99 too"):
        normalization.from_json(stored)
    stored = normalization.to_json({"a": libero_statistics()})
    stored["a"]["proprio"]["min"].append(0)
    with pytest.raises(InputError, match="one length"):
        normalization.from_json(stored)


def test_statistics_of_a_suite_are_never_another_suites():
    statistics = {"libero_object_no_noops": libero_statistics()}
    key, _ = normalization.find_statistics(statistics, "libero_object")
    assert key == "libero_object_no_noops"
    with pytest.raises(InputError, match="libero_goal"):
        normalization.find_statistics(statistics, "libero_goal")
