"""FastV: which rows stay, and that keeping all of them changes nothing."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from semanticvla_jax.models import fastv, llama
from semanticvla_jax.models.sequence import Landmarks, causal_mask
from tests.models.smallest import jit

LANDMARKS = Landmarks(slice(1, 5), jnp.array([7, 6]))


def test_rows_that_the_last_prompt_row_attends_to_stay():
    weights = jnp.zeros((2, 2, 8, 8))
    # Heads are averaged; row 6 counts for the first sample, row 5 for the second.
    weights = weights.at[0, 0, 6, 1].set(0.5).at[0, 1, 6, 4].set(0.4).at[0, 0, 7, 2].set(1.0)
    weights = weights.at[1, :, 5, 2:4].set(0.3).at[1, 0, 5, 0].set(1.0)
    rows = fastv.kept_rows(weights, LANDMARKS, 2)
    np.testing.assert_array_equal(rows, [[0, 1, 4, 5, 6, 7], [0, 2, 3, 5, 6, 7]])


def test_keeping_all_changes_nothing_and_dropping_does():
    sizes = dict(vocab_size=7, width=8, depth=3, heads=2, mlp_width=8, kernel_init="lecun")
    x = jax.random.normal(jax.random.key(0), (2, 8, 8))
    mask = causal_mask(jnp.ones((2, 8), bool), None, 0)
    plain = llama.Llama(**sizes)
    params = jit(lambda: plain.init(jax.random.key(0), x, mask))()
    expected = plain.apply(params, x, mask)

    def run(keep: float):
        return fastv.FastVLlama(**sizes, keep=keep).apply(params, x, mask, LANDMARKS)

    np.testing.assert_allclose(run(1.0), expected, atol=1e-5)
    fewer = run(0.5)
    assert (np.asarray(fewer[:, 1:5]) == 0).all(-1).sum(1).tolist() == [2, 2]
    # Rows before the images see nothing of them; rows behind them do.
    np.testing.assert_allclose(fewer[:, 0], expected[:, 0], atol=1e-5)
    assert np.abs(fewer[:, 5:] - expected[:, 5:]).max() > 1e-3
