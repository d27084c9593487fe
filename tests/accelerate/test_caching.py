"""Reusing the last step's memory: exact where nothing changed, and only where it may."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from semanticvla_jax.accelerate.caching_decoder import caching
from semanticvla_jax.accelerate.vla_cache import Cached, VLACache, patch_cosines
from semanticvla_jax.models import llama
from semanticvla_jax.models.sequence import Landmarks, causal_mask
from tests.accelerate.test_stages import combine, scene
from tests.models.smallest import jit

LANDMARKS = Landmarks(slice(1, 7), jnp.array([10, 8]), actions=2)


def setup():
    module = llama.Llama(
        vocab_size=5, width=8, depth=3, heads=2, mlp_width=8, scan=True, kernel_init="lecun"
    )
    x = jax.random.normal(jax.random.key(1), (2, 12, 8))
    mask = causal_mask(jnp.arange(12)[None] < LANDMARKS.start[:, None] + 2, None, 0)

    def both(m):
        m.embed(jnp.zeros((1, 1), int))
        return m(x, mask)

    return module, jit(lambda: module.init(jax.random.key(0), method=both))(), x, mask


def test_same_input_with_reuse_gives_the_same_states_in_one_pass_and_word_by_word():
    module, params, x, mask = setup()
    expected = jit(lambda: module.apply(params, x, mask))()
    everything = {"given": jnp.ones((2, 6), bool), "vla_cache": Cached(None)}
    first = caching(module, "vla_cache", 6, 1)

    @jit
    def step(params, episode):
        return first.apply({**params, "episode": episode}, x, mask, LANDMARKS, mutable=["episode"])

    states, changed = step(params, everything)
    np.testing.assert_allclose(states, expected, atol=1e-5)
    read = changed["episode"]["vla_cache"]
    assert read.keys.shape == (2, 3, 12, 2, 4) and read.relevance.shape == (2, 6)

    fresh = jnp.array([[1, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 1]], bool)  # of two slots one is empty
    reuse = {"given": fresh, "vla_cache": Cached(None, read.relevance, read.keys, read.values)}
    second = caching(module, "vla_cache", 2, 1)
    words = jax.random.normal(jax.random.key(2), (2, 1, 8))

    def read_on(m):
        last, reading = m.prefill(x, LANDMARKS, 1)
        return last, m.proceed(words, 0, reading)[0]

    @jit
    def again(params, episode):
        variables = {**params, "episode": episode}
        states = second.apply(variables, x, mask, LANDMARKS)
        return states, second.apply(variables, method=read_on)

    states, found = again(params, reuse)
    kept = np.ones((2, 12), bool)
    kept[:, 1:7] = fresh
    np.testing.assert_allclose(states, expected * kept[..., None], atol=1e-5)
    reference = jit(lambda: module.apply(params, method=read_on))()
    for a, b in zip(found, reference, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_cosines_of_patches():
    before = np.full((1, 1, 4, 4, 3), 100, np.uint8)
    now = before.copy()
    now[0, 0, :2, 2:] = [200, 0, 0]
    now[0, 0, 2:, :2] = 50  # darker all over: the cosine does not see it
    cosines = np.asarray(patch_cosines(jnp.asarray(now), jnp.asarray(before), 4))[0]
    np.testing.assert_allclose(cosines, [1, 1 / np.sqrt(3), 1, 1], atol=1e-4)


@pytest.mark.parametrize("begun", [True, False])
def test_still_and_irrelevant_patches_are_reused_except_at_first(begun):
    before = np.full((1, 1, 8, 8, 3), 100, np.uint8)
    now = before.copy()
    now[0, 0, :2] = np.random.default_rng(0).integers(0, 255, (2, 8, 3))  # upper four patches
    relevance = jnp.zeros((1, 16)).at[0, jnp.arange(10, 16)].set(1.0)
    state = Cached(jnp.asarray(before), relevance, begun=jnp.array([begun]))
    seen = scene(np.zeros((1, 16)), images=jnp.asarray(now))
    combined, state = combine(VLACache(), seen, state)
    reused = np.flatnonzero(~np.asarray(combined.valid)[0])
    # Round(150/256 of 16) = 9 may be reused, those in front of equals; 6 are relevant.
    assert reused.tolist() == ([4, 5, 6, 7, 8, 9] if begun else [])
    np.testing.assert_array_equal(state.images, now)
