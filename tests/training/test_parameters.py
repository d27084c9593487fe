"""Selecting parameters by ordered (regex, value) rules."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semanticvla_jax.errors import InputError
from semanticvla_jax.training import parameters

TREE = {
    "dino": {"block_0": {"kernel": np.zeros((2, 3)), "bias": np.zeros(3)}},
    "head": {"kernel": np.ones((3, 1))},
}


def test_first_full_match_wins():
    rules = [("dino/.*kernel", 1), ("dino/.*", 2), (".*", 3)]
    assert parameters.match(TREE, rules, purpose="test") == {
        "dino/block_0/kernel": 1,
        "dino/block_0/bias": 2,
        "head/kernel": 3,
    }


def test_a_partial_match_is_no_match():
    with pytest.raises(InputError, match="3 parameters that no rule matches") as error:
        parameters.match(TREE, [("dino", 1), ("kernel", 2)], purpose="freezing")
    assert "['dino', 'kernel']" in str(error.value)


def test_count():
    assert parameters.count(TREE) == 6 + 3 + 3


@given(st.lists(st.booleans(), min_size=3, max_size=3))
def test_split_and_merge_are_inverse(flags):
    names = list(parameters.flatten(TREE))
    chosen, rest = parameters.split(TREE, dict(zip(names, flags, strict=True)))
    assert len(parameters.flatten(chosen)) == sum(flags)
    merged = parameters.flatten(parameters.merge(chosen, rest))
    assert merged.keys() == set(names)
    assert all(merged[name] is parameters.flatten(TREE)[name] for name in names)
