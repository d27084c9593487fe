"""VLA-Pruner's choice on attention made by hand."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from semanticvla_jax.accelerate import salience
from semanticvla_jax.accelerate.history import History
from semanticvla_jax.accelerate.view import Rows, View
from semanticvla_jax.accelerate.vla_pruner import VLAPruner
from tests.models.smallest import jit

V, SIZE = 6, 12  # [BOS] 6 image tokens, 4 words, pads


def view(attention: np.ndarray, inputs: np.ndarray, start=(11, 9)) -> View:
    """attention f[2, 12, 12] of one head, inputs f[2, 12, d]."""
    weights = jnp.asarray(attention, jnp.float32)[:, None]
    rows = Rows.all(2, SIZE, slice(1, 1 + V))
    x = jnp.asarray(inputs, jnp.float32)
    return View(weights, x, x, rows, jnp.array(start))


def choose(method: VLAPruner, seen: View, state: History) -> np.ndarray:
    """Compiled; the view's slices stay static."""
    rows = seen.rows

    @jit
    def run(weights, hidden, inputs, state):
        return method.choose(View(weights, hidden, inputs, rows, seen.start), state).mask

    return np.asarray(run(seen.weights, seen.hidden, seen.inputs, state))


def test_who_is_asked_by_hand():
    blank = view(np.zeros((2, SIZE, SIZE)), np.zeros((2, SIZE, 2)))
    rows = {name: np.asarray(getattr(salience, name)(blank)) for name in ("last_row", "all_rows")}
    np.testing.assert_array_equal(rows["last_row"].argmax(1), [10, 8])
    np.testing.assert_allclose(rows["all_rows"][1], [1 / 9] * 9 + [0] * 3)
    text = salience.text_rows(blank)  # words are rows 7 to 10: without the first and the last
    np.testing.assert_array_equal(text[0], [0] * 8 + [0.5, 0.5, 0, 0])
    assert (np.asarray(text[1]) == 0).all()  # rows 7 and 8 are the first and the last

    inputs = np.zeros((2, SIZE, 2))
    inputs[:, 1:7, 0] = 1
    inputs[:, 9, 0] = 3  # the images are about this word
    about = view(np.zeros((2, SIZE, SIZE)), inputs)
    np.testing.assert_array_equal(salience.rater_rows(about)[0], np.eye(SIZE)[9])
    np.testing.assert_array_equal(salience.question_raters(about)[0], np.eye(SIZE)[9])


def test_both_levels_count_and_redundant_ones_go():
    attention = np.zeros((2, SIZE, SIZE))
    attention[:, [10, 8], 1:3] = 0.5  # the prompt looks at tokens 0 and 1
    inputs = np.zeros((2, SIZE, 3))
    inputs[:, 1], inputs[:, 2], inputs[:, 3] = [1, 0, 0], [1, 0.1, 0], [0, 1, 0]
    inputs[:, 4] = [0, 0, 1]
    vectors = jnp.zeros((2, 3, V)).at[:, :, 2].set(1.0).at[:, :, 3].set(0.5)
    state = History(vectors, jnp.array([3, 2]))  # actions looked at tokens 2 and 3
    method = VLAPruner(drop=4 / 6)
    mask = choose(method, view(attention, inputs), state)
    # Of the union {0, 1, 2, 3}: 3 is at distance 1 of all others, as is 2 of 0; nearly of 1.
    np.testing.assert_array_equal(np.flatnonzero(mask[0]), [0, 3])
    assert mask[1].all()  # too early in its episode
    np.testing.assert_array_equal(method.needed(state), [2, 6])
    assert method.sizes(V) == (2, 6)


def test_rounding_is_pythons():
    assert VLAPruner(drop=0.5).keep(37 * 2) == 37
    assert VLAPruner(drop=0.5).keep(5) == 2 and VLAPruner(drop=0.5).keep(7) == 4
    assert [VLAPruner(drop=r).keep(256) for r in (0.5, 0.75, 0.875)] == [128, 64, 32]


ATTENTION = hnp.arrays(np.float32, (2, SIZE, SIZE), elements=st.floats(0, 1, width=16))
VECTORS = hnp.arrays(np.float32, (2, 3, V), elements=st.floats(0, 1, width=16))


@jit
def chosen(attention, inputs, vectors, count):
    method = VLAPruner(rows=salience.all_rows)
    seen = view(attention, inputs)
    return method.choose(seen, History(vectors, count)).mask


@settings(max_examples=40, deadline=None)
@given(ATTENTION, VECTORS, st.tuples(st.integers(0, 3), st.integers(0, 3)))
def test_budgets_are_exact_and_members_independent(attention, vectors, count):
    inputs = np.random.default_rng(0).normal(size=(2, SIZE, 4)).astype(np.float32)
    count = np.array(count, np.int32)
    mask = np.asarray(chosen(attention, inputs, vectors, count))
    assert mask.sum(1).tolist() == [3 if n == 3 else V for n in count]
    other = attention.copy(), inputs.copy(), vectors.copy(), count.copy()
    for array in other:
        array[0] = array[1]
    np.testing.assert_array_equal(chosen(*other)[1], mask[1])


@pytest.mark.parametrize("dtype, expected", [(jnp.float32, 5), (jnp.bfloat16, 4)])
def test_guidance_has_the_decoders_precision(dtype, expected):
    """As released: in bfloat16 the two tokens tie, and the one in front joins the union."""
    inputs = np.eye(SIZE)[None].repeat(2, 0)
    vectors = jnp.full((2, 3, V), 0.1).at[:, :, 4].set(0.5).at[:, :, 5].set(0.5001)
    attention = np.zeros((2, SIZE, SIZE))
    attention[:, [10, 8], 1 + 5] = 1.0
    seen = view(attention, inputs)
    seen = seen._replace(hidden=seen.hidden.astype(dtype))
    mask = choose(VLAPruner(drop=5 / 6), seen, History(vectors, jnp.array([3, 3])))
    np.testing.assert_array_equal(mask, np.arange(V)[None] == [[expected]] * 2)
