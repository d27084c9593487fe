"""Rows as bytes and back."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from semanticvla_jax.inference.lines import Lines

LINES = Lines(
    {
        "images": ((2, 3, 3, 3), np.uint8),
        "ready": ((2,), np.bool_),
        "state": ((5,), np.float32),
        "slot": ((), np.int32),
    }
)
UNPACK = jax.jit(LINES.unpack)
ROW = st.fixed_dictionaries(
    {
        "images": arrays.arrays(np.uint8, (2, 3, 3, 3)),
        "ready": arrays.arrays(np.bool_, 2),
        "state": arrays.arrays(np.float32, 5, elements=st.floats(width=32, allow_subnormal=False)),
        "slot": st.integers(-(2**31), 2**31 - 1).map(np.int32),
    }
)


@settings(max_examples=30, deadline=None)
@given(st.lists(ROW, min_size=2, max_size=2))
def test_what_goes_in_comes_out_bit_for_bit(rows):
    lines = LINES.pack(rows)
    assert lines.shape == (2, LINES.bytes) and LINES.bytes == 54 + 2 + 20 + 4
    found = UNPACK(lines)
    for name in rows[0]:
        expected = np.stack([row[name] for row in rows])
        np.testing.assert_array_equal(np.asarray(found[name]), expected, strict=True)


def test_other_shapes_are_refused():
    row = {
        "images": np.zeros((2, 3, 3, 3), np.uint8),
        "ready": np.zeros(2, bool),
        "state": np.zeros(4, np.float32),
        "slot": np.int32(0),
    }
    with pytest.raises(ValueError, match="state of shape"):
        LINES.pack([row])
