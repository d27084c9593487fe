"""Pruners: choices by hand, and what must hold for any input."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from semanticvla_jax.models import pruners
from semanticvla_jax.models.text import TextTower
from tests.models.smallest import jit


def id_pruner(**changes) -> pruners.InstructionDrivenPruner:
    """Without a text projector, so that words are given in the patches' space."""
    arguments = dict(width=2, anchors=2, cues=1, text_layers=0)
    return pruners.InstructionDrivenPruner(**arguments | changes)


@functools.cache
def selector(**changes):
    module = id_pruner(**changes)

    def run(patches, words, mask, noise):
        words = pruners.Words(words, mask)
        return module.apply({}, patches, patches[:, :0], words, noise, method="select")

    return jit(run)


def select(patches, words, mask, noise=None, **changes) -> pruners.Selection:
    """The choice has no parameters of its own."""
    return selector(**changes)(*map(jnp.asarray, (patches, words, mask)), noise)


def test_the_largest_are_kept_in_their_order():
    scores = jnp.array([[0.1, 0.9, 0.3, 0.8]])
    np.testing.assert_array_equal(pruners.top_k_in_order(scores, 3), [[1, 2, 3]])
    np.testing.assert_array_equal(pruners.top_k_in_order(scores, 2), [[1, 3]])


def test_selection_by_hand():
    right, up = [1.0, 0.0], [0.0, 1.0]
    patches = [[up, [2.0, 0.0], up, [3.0, 3.0]]]
    words = [[right, up]]
    found = select(patches, words, [[True, False]])
    # Cosines with `right`: 0, 1, 0, 0.707; the hidden word contributes -1 to every mean.
    similarity = found.details["similarity"][0]
    np.testing.assert_allclose(similarity[:, 0], [0, 1, 0, 0.5**0.5], atol=1e-6)
    np.testing.assert_array_equal(similarity[:, 1], [-1] * 4)
    np.testing.assert_array_equal(found.details["kept_patches"], [[1, 3]])
    np.testing.assert_array_equal(found.anchors, [[[2, 0], [3, 3]]])  # values are not weighted
    np.testing.assert_array_equal(found.details["cue_words"], [[0]])
    weights = np.exp([0, 1, 0, 0.5**0.5])
    weights /= weights.sum()
    np.testing.assert_allclose(found.details["cue_attention"][0, :, 0], weights, atol=1e-6)
    np.testing.assert_allclose(found.cues[0, 0], weights @ np.array(patches[0]), atol=1e-6)


def test_a_hidden_word_that_is_chosen_gives_the_plain_mean():
    patches = [[[1.0, 0.0], [0.0, 2.0], [2.0, 1.0]]]
    found = select(patches, [[[1.0, 1.0], [1.0, 0.0]]], [[True, False]], cues=2)
    np.testing.assert_allclose(found.cues[0, 1], [1.0, 1.0], atol=1e-6)


def test_noise_acts_before_words_are_hidden():
    noise = jnp.full((1, 3, 2), 5.0)
    patches, words = np.eye(3, 2)[None], np.eye(2)[None]
    plain = select(patches, words, [[True, False]]).details["similarity"]
    noisy = select(patches, words, [[True, False]], noise)
    difference = noisy.details["similarity"] - plain
    np.testing.assert_allclose(difference[0, :, 0], 0.5, atol=1e-6)
    np.testing.assert_array_equal(difference[0, :, 1], 0)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), budget=st.sampled_from([(1, 4), (3, 2), (6, 1)]))
def test_budget_order_and_word_order_invariance(seed, budget):
    rng = np.random.default_rng(seed)
    anchors, cues = budget
    patches, words = rng.normal(size=(2, 6, 3)), rng.normal(size=(2, 4, 3))
    mask = np.array([[1, 1, 1, 0], [1, 1, 0, 0]], bool)
    found = select(patches, words, mask, anchors=anchors, cues=cues)
    kept = np.asarray(found.details["kept_patches"])
    assert found.anchors.shape == (2, anchors, 3) and found.cues.shape == (2, cues, 3)
    assert (np.diff(kept, axis=1) > 0).all() and kept.min() >= 0 and kept.max() < 6
    np.testing.assert_allclose(found.details["cue_attention"].sum(1), 1, atol=1e-5)

    order = rng.permutation(4)
    shuffled = select(patches, words[:, order], mask[:, order], anchors=anchors, cues=cues)
    np.testing.assert_array_equal(shuffled.details["kept_patches"], kept)

    # What a hidden word says changes nothing.
    other = words + 9 * ~mask[..., None]
    again = select(patches, other, mask, anchors=anchors, cues=cues)
    np.testing.assert_array_equal(again.anchors, found.anchors)
    np.testing.assert_array_equal(again.cues, found.cues)


def test_hidden_words_never_reach_visible_ones():
    keep = pruners.KeepAll()
    module = pruners.Pruners(keep, keep, text_encoder=TextTower(10, 4, 2, 1, 1, 2))
    ids = jnp.array([[5, 6, 1, 1]])
    params = jit(lambda: module.init(jax.random.key(0), ids, method="read"))()
    read = jit(lambda ids: module.apply(params, ids, method="read"))
    (words, mask), (short, _) = read(ids), read(ids[:, :3])
    np.testing.assert_array_equal(mask, [[True, True, False, False]])
    np.testing.assert_allclose(words[:, :2], short[:, :2], atol=1e-6)


def test_gradient_reaches_the_words_through_the_cues_only():
    patches, words = np.random.default_rng(0).normal(size=(2, 1, 4, 2))
    mask = np.ones((1, 4), bool)

    def total(words, part):
        read = pruners.Words(words, mask)
        found = id_pruner().apply({}, patches, patches[:, :0], read, None, method="select")
        return getattr(found, part).sum()

    gradient = jit(jax.grad(total), static_argnums=1)
    patches, words = jnp.asarray(patches), jnp.asarray(words)
    assert jnp.abs(gradient(words, "anchors")).max() == 0
    assert jnp.abs(gradient(words, "cues")).max() > 0


def test_pooling_with_and_without_pads():
    x = jnp.array([[[1.0], [3.0], [8.0]]])
    valid = jnp.array([[True, True, False]])
    assert pruners.mean_without_pads(x, valid)[0, 0] == 2
    assert pruners.mean_with_pads(x, valid)[0, 0] == 4


def test_film_is_two_linear_maps_per_block():
    module = pruners.SpatialAggregationPruner(width=2, depth=3, queries=4)
    language = jnp.array([[1.0, 2.0]])
    params = module.init(jax.random.key(0), language, None, method="condition")["params"]
    assert set(params) == {"queries", "films_0", "films_1", "films_2"}
    assert abs(float(params["queries"].std()) - 1) < 0.6
    params["films_1"]["scale"] = {"kernel": jnp.array([[1.0, 0], [0, 1]]), "bias": jnp.ones(2)}
    told = module.apply({"params": params}, language, None, method="condition")
    assert module.apply({"params": params}, method="appended").shape == (4, 2)
    assert told.words is None and len(told.modulations) == 3
    modulations = told.modulations
    np.testing.assert_array_equal(modulations[1][0], [[2, 3]])
