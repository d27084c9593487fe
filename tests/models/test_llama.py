"""Decoder: rotary positions, scanned and unrolled layers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from semanticvla_jax.models import llama
from semanticvla_jax.models.llama_layer import rotary_angles, rotate
from semanticvla_jax.models.sequence import causal_mask
from tests.models.smallest import jit


def test_rotation_by_hand():
    # Head of 4: pairs (0, 2) and (1, 3), with frequencies 1 and theta^(-1/2) = 1/2.
    angles = rotary_angles(jnp.arange(3)[None], 4, theta=4.0)
    np.testing.assert_allclose(angles[0], [[0, 0], [1, 0.5], [2, 1]])
    x = jnp.zeros((1, 3, 1, 4)).at[..., 0].set(1.0)
    out = rotate(x, angles)[0, :, 0]
    np.testing.assert_allclose(out[0], [1, 0, 0, 0])
    np.testing.assert_allclose(out[2], [np.cos(2), 0, np.sin(2), 0], atol=1e-6)


def test_only_the_distance_between_positions_matters():
    angles = rotary_angles(jnp.arange(9)[None], 8, theta=10000.0)
    query, key = jax.random.normal(jax.random.key(0), (2, 1, 1, 1, 8))
    query, key = (rotate(jnp.tile(x, (1, 9, 1, 1)), angles)[0, :, 0] for x in (query, key))
    products = np.asarray(query @ key.T)
    for distance in range(9):
        assert np.ptp(np.diagonal(products, distance)) < 1e-5


def test_scanned_layers_equal_unrolled_ones_and_remat_changes_nothing():
    sizes = dict(vocab_size=7, width=8, depth=3, heads=2, mlp_width=8)
    x = jax.random.normal(jax.random.key(0), (2, 5, 8))
    mask = causal_mask(jnp.ones((2, 5), bool), None, 0)
    unrolled = llama.Llama(**sizes)

    def both(m, x, mask):
        m.embed(jnp.zeros((1, 1), int))
        return m(x, mask)

    params = jit(lambda: unrolled.init(jax.random.key(0), x, mask, method=both))()["params"]
    stacked = {k: v for k, v in params.items() if not k.startswith("layers_")}
    layers = [params[f"layers_{i}"] for i in range(3)]
    stacked["layers"] = jax.tree.map(lambda *leaves: np.stack(leaves), *layers)
    scanned = llama.Llama(**sizes, scan=True, remat=True)
    loss = jit(jax.value_and_grad(lambda p: (scanned.apply({"params": p}, x, mask) ** 2).sum()))
    value, grads = loss(stacked)
    plain = jit(jax.value_and_grad(lambda p: (unrolled.apply({"params": p}, x, mask) ** 2).sum()))
    expected, reference = plain(params)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(
        grads["layers"]["mlp"]["up_proj"]["kernel"][1],
        reference["layers_1"]["mlp"]["up_proj"]["kernel"],
        atol=1e-4,
    )


def decoder(scan: bool, x, mask) -> tuple[llama.Llama, dict]:
    module = llama.Llama(vocab_size=7, width=8, depth=3, heads=2, mlp_width=8, scan=scan)
    return module, jit(lambda: module.init(jax.random.key(0), x, mask))()


@pytest.mark.parametrize("scan", [False, True])
def test_remembered_positions_count_as_if_they_were_there(scan):
    x = jax.random.normal(jax.random.key(1), (2, 6, 8))
    mask = causal_mask(jnp.ones((2, 6), bool), None, 0)
    module, params = decoder(scan, x, mask)
    whole = module.apply(params, x, mask)
    positions = jnp.arange(6)[None]
    memory = module.empty_memory(2, 6)
    parts = []
    for start, stop in ((0, 3), (3, 4), (4, 6)):
        part, memory = module.apply(
            params,
            x[:, start:stop],
            mask[:, :, start:stop],
            positions[:, start:stop],
            memory,
            start,
            method="extend",
        )
        parts.append(part)
    np.testing.assert_allclose(jnp.concatenate(parts, 1), whole, atol=1e-5)


@pytest.mark.parametrize("scan", [False, True])
def test_layers_run_range_by_range_and_one_by_one_with_their_attention(scan):
    x = jax.random.normal(jax.random.key(1), (2, 4, 8))
    mask = causal_mask(jnp.ones((2, 4), bool), None, 0)
    module, params = decoder(scan, x, mask)
    positions = jnp.arange(4)[None]

    def pieces(m, x):
        x = m.run(x, mask, positions, 0, 1)
        x, weights = m.run_showing(x, mask, positions, 1)
        return m.finish(m.run(x, mask, positions, 2, 3)), weights

    found, weights = module.apply(params, x, method=pieces)
    np.testing.assert_allclose(found, module.apply(params, x, mask), atol=1e-5)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
    assert (weights[:, :, 0, 1:] == 0).all()  # causal
