"""The decoder with cuts: nothing changes where all stays, and what goes is gone."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from semanticvla_jax.accelerate.decoder import pruned
from semanticvla_jax.accelerate.fastv import FastV
from semanticvla_jax.accelerate.history import History
from semanticvla_jax.accelerate.vla_pruner import VLAPruner
from semanticvla_jax.errors import InputError
from semanticvla_jax.models import fastv, llama
from semanticvla_jax.models.sequence import Landmarks, causal_mask
from tests.models.smallest import jit

SIZES = dict(vocab_size=11, width=8, depth=4, heads=2, mlp_width=8, kernel_init="lecun")
LANDMARKS = Landmarks(slice(1, 7), jnp.array([10, 8]), actions=2)
PRUNER = VLAPruner(before=1, watched=2, window=2)


UNROLLED = pytest.param(False, id="unrolled", marks=pytest.mark.slow)


@pytest.fixture(scope="module", params=[UNROLLED, pytest.param(True, id="scanned")])
def decoder(request):
    """(Llama, its parameters, input [2, 12, 8], causal mask)."""
    module = llama.Llama(**SIZES, scan=request.param, embed_std=1.0)
    x = jax.random.normal(jax.random.key(1), (2, 12, 8))
    mask = causal_mask(jnp.arange(12)[None] < LANDMARKS.start[:, None] + 2, None, 0)

    def both(m, x, mask):
        m.embed(jnp.zeros((1, 1), int))
        return m(x, mask)

    return module, jit(lambda: module.init(jax.random.key(0), x, mask, method=both))(), x, mask


def run(module, variables, *args, **options):
    """`module.apply`, compiled, which takes less time than op by op."""
    return jit(lambda v: module.apply(v, *args, **options))(variables)


def test_a_cut_that_keeps_all_changes_nothing(decoder):
    module, params, x, mask = decoder
    whole = pruned(module, FastV(drop=0.0).cuts(6))
    expected = run(module, params, x, mask)
    np.testing.assert_allclose(run(whole, params, x, mask, LANDMARKS), expected, atol=1e-5)


def test_fastv_is_the_one_that_is_trained(decoder):
    module, params, x, mask = decoder
    method = FastV(drop=0.5, before=2)
    cut = pruned(module, method.cuts(method.keep(6)))
    reference = fastv.FastVLlama(**SIZES, scan=module.scan, keep=0.5, prune_before=2)
    np.testing.assert_allclose(
        run(cut, params, x, mask, LANDMARKS),
        run(reference, params, x, mask, LANDMARKS),
        atol=1e-6,
    )


def remembering(module, state: History, size: int):
    """(decoder with VLA-Pruner, variables of an episode in that state)."""
    return pruned(module, PRUNER.cuts(size), [PRUNER]), {"vla_pruner": state}


def full_history(seed: int = 0) -> History:
    vectors = jnp.asarray(np.random.default_rng(seed).uniform(size=(2, 2, 6)), jnp.float32)
    return History(vectors, jnp.array([2, 2]))


def test_a_new_episode_keeps_all_and_remembers_what_its_actions_saw(decoder):
    module, params, x, mask = decoder
    cut, _ = remembering(module, None, 6)
    out, changed = run(cut, params, x, mask, LANDMARKS, mutable=["episode"])
    np.testing.assert_allclose(out, run(module, params, x, mask), atol=1e-5)
    state = changed["episode"]["vla_pruner"]
    np.testing.assert_array_equal(state.count, [1, 1])

    def attention(m):
        positions = jnp.arange(12)[None]
        return m.run_showing(m.run(x, mask, positions, 0, 2), mask, positions, 2)[1]

    weights = run(module, params, method=attention).mean(1)
    seen = [weights[b, s : s + 2, 1:7].mean(0) for b, s in enumerate([10, 8])]
    np.testing.assert_allclose(state.vectors[:, -1], jnp.stack(seen), atol=1e-6)
    assert (state.vectors[:, 0] == 0).all()


def test_pruned_rows_are_gone_and_score_zero(decoder):
    module, params, x, mask = decoder
    cut, episode = remembering(module, full_history(), 3)
    (states, rows), changed = run(cut, 
        {**params, "episode": episode}, x, mask, LANDMARKS,
        method="compact_states", mutable=["episode", "tokens"],
    )  # fmt: skip
    assert states.shape == (2, 9, 8)
    assert (np.diff(rows.index) > 0).all()
    kept = np.asarray(changed["tokens"]["kept"][0])
    assert kept.sum(1).tolist() == [3, 3]
    newest = np.asarray(changed["episode"]["vla_pruner"].vectors[:, -1])
    np.testing.assert_array_equal(newest > 0, kept)


@pytest.mark.slow  # test_turns.py has whole policies by default
def test_members_of_a_batch_do_not_know_of_each_other(decoder):
    """One just begun, one in the middle: each as if it were alone with its own number of slots."""
    module, params, x, mask = decoder
    state = full_history()._replace(count=jnp.array([1, 2]))
    cut, episode = remembering(module, state, 6)
    together = run(cut, {**params, "episode": episode}, x, mask, LANDMARKS)
    for i, size in ((0, 6), (1, 3)):
        alone, episode = remembering(module, jax.tree.map(lambda a, i=i: a[i : i + 1], state), size)
        landmarks = LANDMARKS._replace(start=LANDMARKS.start[i : i + 1])
        variables = {**params, "episode": episode}
        single = run(alone, variables, x[i : i + 1], mask[i : i + 1], landmarks)
        np.testing.assert_allclose(together[i], single[0], atol=1e-5)


@pytest.mark.parametrize("size", [pytest.param(6, marks=pytest.mark.slow), 3])
def test_word_by_word_equals_one_pass(decoder, size):
    """Words in the memory of a pruned prefix see what rows of one causal pass see."""
    module, params, x, _ = decoder
    state = full_history()._replace(count=jnp.full(2, 2 if size == 3 else 0))
    cut, episode = remembering(module, state, size)
    variables = {**params, "episode": episode}
    words = jax.random.normal(jax.random.key(3), (2, 3, 8))
    positions = jnp.arange(12)[None]
    offset = positions - LANDMARKS.start[:, None]
    inside = ((offset >= 0) & (offset < 3))[..., None]
    tail = jnp.take_along_axis(words, jnp.clip(offset, 0, 2)[..., None], axis=1)
    joined = jnp.where(inside, tail, x)
    longer = jnp.concatenate([joined, words[:, -1:]], axis=1)  # the first sample needs 13 rows
    valid = jnp.arange(13)[None] < LANDMARKS.start[:, None] + 3
    expected = run(cut, variables, longer, causal_mask(valid, None, 0), LANDMARKS)

    def read(m):
        last, reading = m.prefill(x, LANDMARKS, 4)
        first, reading = m.proceed(words[:, :1], 0, reading)
        rest, reading = m.proceed(words[:, 1:], 1, reading)
        m.conclude(reading)
        return jnp.concatenate([last, first, rest], axis=1), reading

    found, changed = run(cut, variables, method=read, mutable=["episode"])
    for b, start in enumerate([10, 8]):
        np.testing.assert_allclose(found[0][b], expected[b, start - 1 : start + 3], atol=1e-5)
    layers = [part.layers for part in found[1].parts]
    slots = [part.positions.shape[1] for part in found[1].parts]
    assert sum(layers) == 4 and slots == [16] + [10 + size] * (len(slots) - 1)
    vector = np.asarray(changed["episode"]["vla_pruner"].vectors[:, -1])
    assert ((vector > 0).sum(1) == size).all()


def test_special_decoders_and_layers_that_are_not_there_are_refused():
    special = fastv.FastVLlama(**SIZES)
    with pytest.raises(InputError, match="plain decoder"):
        pruned(special, FastV().cuts(3))
    with pytest.raises(InputError, match="more than 4 layers"):
        pruned(llama.Llama(**SIZES), FastV(before=4).cuts(3))


def test_a_step_is_not_judged_by_its_own_actions(decoder):
    """Watched before the cut: what is seen in this step counts from the next one on."""
    module, params, x, mask = decoder
    pruner = VLAPruner(before=3, watched=1, window=1)
    cut = pruned(module, pruner.cuts(6), [pruner])
    first, changed = run(cut, params, x, mask, LANDMARKS, mutable=["episode", "tokens"])
    assert changed["tokens"]["kept"][0].all()
    again = {**params, "episode": changed["episode"]}
    _, changed = run(cut, again, x, mask, LANDMARKS, mutable=["episode", "tokens"])
    assert changed["tokens"]["kept"][0].sum(1).tolist() == [3, 3]
