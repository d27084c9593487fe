"""Tests and intervals, against textbook values and by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semanticvla_jax.evaluation.report.statistics import (
    false_discovery_rates,
    paired_difference,
    unpaired_difference,
)

COUNTS = st.integers(0, 300)


def test_mcnemar_counts_only_episodes_on_which_the_policies_differ():
    # 1 to 7 of 8 differing episodes: 2 (C(8, 0) + C(8, 1)) / 2^8.
    difference = paired_difference(both=40, first_only=1, second_only=7, neither=2)
    assert difference.p == pytest.approx(18 / 256)
    assert difference.change == pytest.approx(6 / 50)
    assert paired_difference(both=3, first_only=0, second_only=0, neither=3).p == 1


def test_newcombe_paired_interval_has_the_published_value():
    """Newcombe 1998, p. 2635, table III: 36, 12, 2, 0; the sign is that of second minus first."""
    difference = paired_difference(both=36, first_only=12, second_only=2, neither=0)
    assert (difference.low, difference.high) == pytest.approx((-0.3404, -0.0569), abs=5e-5)


def test_fisher_is_the_lady_tasting_tea():
    assert unpaired_difference((3, 4), (1, 4)).p == pytest.approx(34 / 70)


def test_newcombe_unpaired_interval_has_the_published_value():
    """Newcombe 1998, p. 873, table II: 56/70 against 48/80."""
    difference = unpaired_difference((48, 80), (56, 70))
    assert difference.change == pytest.approx(0.2)
    assert (difference.low, difference.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_paired_interval_holds_the_change_and_mirrors(both, first_only, second_only, neither):
    if both + first_only + second_only + neither == 0:
        return
    one = paired_difference(both, first_only, second_only, neither)
    other = paired_difference(both, second_only, first_only, neither)
    assert -1 - 1e-9 <= one.low <= one.change <= one.high <= 1 + 1e-9
    assert (one.low, one.high, one.p) == pytest.approx((-other.high, -other.low, other.p))


@given(st.tuples(COUNTS, COUNTS), st.tuples(COUNTS, COUNTS))
def test_unpaired_interval_holds_the_change_and_mirrors(first, second):
    first, second = (min(first), max(first) or 1), (min(second), max(second) or 1)
    one, other = unpaired_difference(first, second), unpaired_difference(second, first)
    assert -1 - 1e-9 <= one.low <= one.change <= one.high <= 1 + 1e-9
    assert (one.low, one.high, one.p) == pytest.approx((-other.high, -other.low, other.p))


def test_many_tests_are_adjusted():
    # Sorted 0.01, 0.03, 0.04 times 3/1, 3/2, 3/3; none above its successor.
    assert false_discovery_rates([0.04, 0.01, 0.03]) == pytest.approx([0.04, 0.03, 0.04])
    assert false_discovery_rates([]) == []
