"""Batches of the sizes that are compiled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semanticvla_jax.inference.batches import fitting, padded


@given(
    st.sets(st.integers(1, 20), min_size=1).map(sorted),
    st.integers(1, 20),
)
def test_padding_reaches_the_smallest_size_that_holds_the_rows(sizes, count):
    rows = list(range(min(count, max(sizes))))
    batch = padded(rows, sizes)
    assert len(batch) == min(size for size in sizes if size >= len(rows))
    assert batch[: len(rows)] == rows and set(batch[len(rows) :]) <= {rows[-1]}


def test_the_smallest_that_is_enough():
    assert [fitting((16, 32, 40), need) for need in (1, 16, 17, 40)] == [16, 16, 32, 40]
    with pytest.raises(StopIteration):
        fitting((16,), 17)
