"""Actions as words: bins by hand, memory against recomputation, fixed points against both."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from semanticvla_jax.models import heads, sequence, variants
from semanticvla_jax.models.build import build
from semanticvla_jax.models.sequence import Prefix
from tests.models import smallest
from tests.models.smallest import jit

BINS = heads.ActionBins(32064, heads.one_token_per_dimension(3), padding=64)


def test_bins_by_hand():
    words = BINS.encode(jnp.array([-1.0, 1.0, 0.001]))
    # digitize: -1 is in bin 1 of 256, +1 behind the last edge (256), 0.001 in bin 128.
    np.testing.assert_array_equal(words, [31999, 31744, 31872])
    centre = 1 - 1 / 255  # of the last bin; both of its words decode to it
    np.testing.assert_allclose(
        BINS.decode(jnp.array([31999, 31744, 31745])), [-centre, centre, centre], atol=1e-6
    )
    # Words that are no actions decode to an end.
    np.testing.assert_allclose(BINS.decode(jnp.array([5, 5, 32063])), [centre, centre, -centre])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1.5, 1.5, width=32), min_size=3, max_size=3))
def test_bins_are_half_a_bin_wide_at_most(values):
    values = np.array(values, np.float32)
    words = np.asarray(BINS.encode(jnp.asarray(values)))
    assert (words >= 31744).all() and (words <= 31999).all()
    decoded = BINS.decode(jnp.asarray(words))
    np.testing.assert_array_less(np.abs(decoded - np.clip(values, -1, 1)), 1 / 255 + 1e-6)


def prefix(m) -> Prefix:
    """What a bound model's decoder is told; prompts of different lengths."""
    rng = np.random.default_rng(0)
    image_tokens = jnp.asarray(rng.normal(size=(2, 5, m.llm.width)), jnp.float32)
    prompt_mask = jnp.arange(6)[None] < jnp.array([[6], [3]])
    prompt = jnp.asarray(rng.integers(3, 40, (2, 6))), prompt_mask
    ids, _ = sequence.language_ids(*prompt, m.coupler.bos_id, m.coupler.stop_id)
    return Prefix(image_tokens, jnp.zeros((2, 8)), m.llm.embed(ids), prompt_mask)


def models():
    """(OpenVLA, PD-VLA, parameters of both)."""
    base = smallest.released()
    base["llm"] |= {"depth": 2, "kernel_init": "lecun", "embed_std": 1.0}
    for tower in ("siglip", "dino"):
        base[tower]["depth"] = 2
    autoregressive, fixed_point = (
        build(variants.apply(name, base)) for name in ("openvla", "pd_vla")
    )
    init = jit(lambda: autoregressive.init(jax.random.key(3), smallest.batch()))
    return autoregressive, fixed_point, init()


def test_words_equal_a_greedy_search_without_memory_and_the_fixed_point_equals_both():
    autoregressive, fixed_point, params = models()

    def decode(m):
        return m.coupler.decode(m.llm, m.head, prefix(m))

    def next_word(m, words, count):
        """Greedy next word behind the first `count`, from a complete pass; it sees none after."""
        told = prefix(m)
        language = told.language, told.prompt_mask
        embeddings, start = sequence.assemble(*language, told.image_tokens, m.llm.embed(words))
        valid = jnp.arange(embeddings.shape[1])[None] < start[:, None] + words.shape[1]
        hidden = m.llm(embeddings, sequence.causal_mask(valid, start, 0))
        row = sequence.take_rows(hidden, start - 1 + count, 1)
        return m.llm.logits(row)[:, 0].argmax(-1)

    actions, details = jit(lambda: autoregressive.apply(params, method=decode))()
    words = jnp.zeros((2, 14), int)
    search = jit(lambda *told: autoregressive.apply(params, *told, method=next_word))
    for count in range(14):
        words = words.at[:, count].set(search(words, count))
    np.testing.assert_array_equal(details["words"], words)
    assert len(np.unique(words)) > 3 and details["passes"] == 13

    same, quick = jit(lambda: fixed_point.apply(params, method=decode))()
    np.testing.assert_array_equal(quick["words"], words)
    np.testing.assert_array_equal(same, actions)
    assert 1 <= quick["passes"] <= 13


def test_one_action_needs_no_further_pass_than_its_words():
    from semanticvla_jax.models.word_coupler import Autoregressive, FixedPoint

    def advance(words, index, memory):
        """Each word's successor is the word plus one."""
        return jax.nn.one_hot(words + 1, 20), memory

    first = jnp.array([3, 5], jnp.int32)
    expected = [[3, 4, 5, 6], [5, 6, 7, 8]]
    words, passes, _ = Autoregressive()(first, None, advance, 4)
    np.testing.assert_array_equal(words, expected)
    assert passes == 3
    words, passes, _ = FixedPoint()(first, None, advance, 4)
    np.testing.assert_array_equal(words, expected)
    assert passes == 3  # each pass makes one more word right
    limited, passes, _ = FixedPoint(limit=1)(first, None, advance, 4)
    np.testing.assert_array_equal(limited, [[3, 4, 4, 4], [5, 6, 6, 6]])
    assert passes == 1
