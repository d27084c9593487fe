"""Choosing with static shapes: budgets are exact, order is kept, nothing crosses the batch."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from semanticvla_jax.accelerate.history import History, newest_heaviest, oldest_heaviest
from semanticvla_jax.accelerate.redundancy import max_min_mask, max_min_order
from semanticvla_jax.accelerate.selection import compact, scatter, top_mask
from tests.models.smallest import jit

SCORES = hnp.arrays(np.float32, (2, 7), elements=st.floats(-4, 4, width=16))
MASKS = hnp.arrays(bool, (2, 7))
top = jit(top_mask)
packed = jit(compact, static_argnums=1)
spread = jit(scatter, static_argnums=3)
order = jit(max_min_order, static_argnums=2)
diverse = jit(max_min_mask, static_argnums=2)
many = settings(max_examples=60, deadline=None)


@many
@given(SCORES, MASKS, st.lists(st.integers(0, 9), min_size=2, max_size=2))
def test_the_largest_of_those_present_and_exactly_so_many(scores, present, count):
    chosen = np.asarray(top(scores, jnp.array(count), present))
    assert not (chosen & ~present).any()
    assert chosen.sum(1).tolist() == [min(n, p) for n, p in zip(count, present.sum(1), strict=True)]
    for row in range(2):
        inside, outside = scores[row][chosen[row]], scores[row][present[row] & ~chosen[row]]
        assert not inside.size or not outside.size or inside.min() >= outside.max()


@many
@given(MASKS, st.integers(1, 7))
def test_compaction_keeps_order_and_scatter_leads_back(mask, size):
    index, valid = (np.asarray(x) for x in packed(mask, size))
    for row in range(2):
        expected = np.flatnonzero(mask[row])[:size]
        np.testing.assert_array_equal(index[row][valid[row]], expected)
        assert len(set(index[row])) == size
    back = spread(jnp.ones((2, size)), index, valid, 7)
    kept = mask & (mask.cumsum(1) <= size)
    np.testing.assert_array_equal(back, kept)


def test_max_min_by_hand():
    angles = jnp.deg2rad(jnp.array([0.0, 10.0, 90.0, 100.0, 200.0]))
    features = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=-1)[None]
    everyone = jnp.ones((1, 5), bool)
    # 200 is loneliest; farthest from it is 10 (170 degrees apart); then 100, the farthest of the
    # rest from both: 90 has 80 degrees to 10, 100 has 90; 0 has 10.
    assert order(features, everyone, 3)[0].tolist() == [4, 1, 3]
    without = everyone.at[0, 4].set(False)
    assert order(features, without, 2)[0].tolist() == [0, 3]
    # Fewer candidates than picks: no more than there are.
    few = jnp.zeros((1, 5), bool).at[0, 2].set(True)
    assert order(features, few, 3)[0].tolist() == [2, -1, -1]


FEATURES = hnp.arrays(np.float32, (2, 7, 3), elements=st.floats(-2, 2, width=16))


@many
@given(FEATURES, MASKS)
def test_redundancy_filter_stays_in_the_union_and_in_its_row(features, candidates):
    chosen = np.asarray(diverse(features, candidates, 3))
    assert not (chosen & ~candidates).any()
    assert chosen.sum(1).tolist() == np.minimum(candidates.sum(1), 3).tolist()
    other = np.asarray(diverse(features[::-1], candidates[::-1], 3))
    np.testing.assert_array_equal(other[::-1], chosen)


def test_history_by_hand():
    state = History.empty(1, 3, 2)
    assert not state.full[0]
    for vector in ([1.0, 0.0], [0.0, 2.0], [4.0, 0.0], [0.0, 8.0]):
        state = state.append(jnp.array([vector]))
    assert state.full[0] and state.count.tolist() == [3]
    np.testing.assert_array_equal(state.vectors[0], [[0, 2], [4, 0], [0, 8]])
    np.testing.assert_allclose(oldest_heaviest(3, 0.5), [1, 0.5, 0.25])
    np.testing.assert_allclose(newest_heaviest(3, 0.5), [0.25, 0.5, 1])
    released = state.guidance(oldest_heaviest(3, 0.5))  # 2 + 2 and 4 / 2, of 6
    np.testing.assert_allclose(released, [[2 / 6, 4 / 6]], rtol=1e-6)
    intended = state.guidance(newest_heaviest(3, 0.5))  # 4 / 2 and 0.5 + 8
    np.testing.assert_allclose(intended, [[2 / 10.5, 8.5 / 10.5]], rtol=1e-6)
    np.testing.assert_array_equal(History.empty(1, 3, 2).guidance(oldest_heaviest(3, 0.5)), 0)
