"""Coupler: masks as matrices, the sequence's layout, the read-out's rows."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semanticvla_jax.models import coupler, sequence
from tests.models.smallest import jit

# Two prefix positions, an action block of two placeholders and the stop token, one pad.
VALID = jnp.array([[1, 1, 1, 1, 1, 0]], bool)
START, LENGTH = jnp.array([2]), 3
DRAWN = {
    sequence.causal_mask: """
        100000
        110000
        111000
        111100
        111110
        111110""",
    sequence.hybrid_mask: """
        100000
        110000
        111110
        111110
        111110
        111110""",
    sequence.prefix_bidirectional_mask: """
        110000
        110000
        111110
        111110
        111110
        111110""",
    sequence.full_mask: """
        111110
        111110
        111110
        111110
        111110
        111110""",
}


@pytest.mark.parametrize("build", DRAWN, ids=lambda f: f.__name__)
def test_masks(build):
    drawn = np.array([[c == "1" for c in row.strip()] for row in DRAWN[build].split()])
    np.testing.assert_array_equal(build(VALID, START, LENGTH)[0, 0], drawn)


def module(**changes) -> coupler.ActionCoupler:
    arguments = dict(
        placeholders=coupler.ZeroPlaceholders(4, 2),
        chunk=2,
        tokens_per_step=2,
        llm_width=2,
        bos_id=1,
        stop_id=2,
    )
    return coupler.ActionCoupler(**arguments | changes)


def embed(ids):
    """Token id -> vector that shows it."""
    return jnp.stack([ids, ids], -1).astype(jnp.float32)


@jit
def assemble(prompt, mask):
    images = jnp.full((len(prompt), 3, 2), 50.0)
    m = module()
    ids, _ = sequence.language_ids(prompt, mask, m.bos_id, m.stop_id)
    args = images, jnp.ones((len(prompt), 1)), embed(ids), mask
    params = m.init(jax.random.key(0), *args, method="assemble")
    return m.apply(params, *args, method="assemble")


def test_the_action_block_follows_each_prompt_and_pads_come_last():
    prompt = np.array([[11, 12, 13], [11, 99, 99]])
    built = assemble(prompt, np.array([[True, True, True], [True, False, False]]))
    shown = np.asarray(built.embeddings[..., 0])
    prefix = [1, 50, 50, 50]
    np.testing.assert_array_equal(shown[:, :4], [prefix, prefix])
    # Behind the proprioception token: prompt, four zero placeholders, stop (2), pads.
    np.testing.assert_array_equal(shown[0, 5:], [11, 12, 13, 0, 0, 0, 0, 2])
    np.testing.assert_array_equal(shown[1, 5:], [11, 0, 0, 0, 0, 2, 99, 99])
    np.testing.assert_array_equal(built.start, [8, 6])
    np.testing.assert_array_equal(built.valid.sum(1), [13, 11])


@settings(max_examples=25, deadline=None)
@given(lengths=st.tuples(st.integers(1, 5), st.integers(1, 5)))
def test_layout_of_any_two_lengths(lengths):
    lengths = np.array(lengths)
    mask = np.arange(5)[None] < lengths[:, None]
    prompt = np.where(mask, 10 + np.arange(5), 99)
    built = assemble(prompt, mask)
    for row, length in enumerate(lengths):
        words = list(range(10, 10 + length))
        expected = [*words, 0, 0, 0, 0, 2, *[99] * (5 - length)]
        np.testing.assert_array_equal(built.embeddings[row, 5:, 0], expected)
        size = 5 + length + 5
        block = np.arange(size) >= 5 + length
        drawn = np.tri(size, dtype=bool) | (block[:, None] & block)
        np.testing.assert_array_equal(built.mask[row, 0, :size, :size], drawn)
        assert not built.mask[row, 0, :, size:].any()
        assert built.start[row] == 5 + length


def test_read_out_rows():
    hidden = jnp.arange(20.0)[None, :, None] * jnp.ones((2, 1, 1))
    start = jnp.array([8, 6])
    shifted = module().apply({}, hidden, start, method="read")
    assert shifted.shape == (2, 2, 2, 1)
    np.testing.assert_array_equal(shifted[..., 0].reshape(2, 4), [[7, 8, 9, 10], [5, 6, 7, 8]])
    aligned = module(first_row=coupler.aligned).apply({}, hidden, start, method="read")
    np.testing.assert_array_equal(aligned - shifted, 1)


def test_language_positions_are_start_prompt_and_stop():
    prompt = jnp.array([[7, 0]]), jnp.array([[True, False]])
    ids, valid = sequence.language_ids(*prompt, bos_id=1, stop_id=2)
    np.testing.assert_array_equal(ids, [[1, 7, 0, 2]])
    np.testing.assert_array_equal(valid, [[True, True, False, True]])


def test_typed_placeholders_repeat_over_the_chunk_and_proprioceptive_ones_carry_the_state():
    proprioception = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    typed = coupler.TypedPlaceholders(6, 3, 2)
    out, _ = typed.init_with_output(jax.random.key(0), proprioception)
    assert out.shape == (1, 6, 2)
    np.testing.assert_array_equal(out[0, :3], out[0, 3:])
    carrying = coupler.ProprioceptivePlaceholders(6, 2)
    out, _ = carrying.init_with_output(jax.random.key(0), proprioception)
    np.testing.assert_allclose(out[1] - out[0], 2.0, atol=1e-6)
