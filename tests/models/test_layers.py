"""Layers: formulas by hand, adapters, errors."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.models import lora
from semanticvla_jax.models.layers import (
    Block,
    Dense,
    LayerNorm,
    attention_weights,
    gelu,
    weighted_values,
)
from semanticvla_jax.models.lora import LoRA
from tests.models.smallest import jit


def test_torch_initialisation_is_uniform_within_one_over_root_fan_in():
    params = Dense(500).init(jax.random.key(0), jnp.zeros((1, 16)))["params"]
    for leaf in params.values():
        assert 0.24 < float(jnp.abs(leaf).max()) <= 0.25
    assert abs(float(params["kernel"].std()) - 0.25 / 3**0.5) < 0.005


@pytest.mark.parametrize("dtype, tolerance", [(jnp.float32, 5e-7), (jnp.bfloat16, 8e-3)])
def test_gelu_is_x_times_the_normal_distribution_function(dtype, tolerance):
    x = jnp.linspace(-9, 9, 1001).astype(dtype)
    exact = [v * 0.5 * math.erfc(-v * 0.5**0.5) for v in np.asarray(x, np.float64)]
    found = gelu(x)
    assert found.dtype == dtype
    np.testing.assert_allclose(np.asarray(found, np.float64), exact, tolerance, tolerance)


def test_dense_on_any_number_of_axes():
    layer = Dense(2)
    params = {"kernel": jnp.array([[1.0, 0], [0, 2], [1, 1]]), "bias": jnp.array([10.0, 20])}
    x = jnp.arange(12.0).reshape(2, 2, 3)
    y = layer.apply({"params": params}, x)
    assert y.shape == (2, 2, 2)
    np.testing.assert_array_equal(y[0, 0], [0 + 2 + 10, 2 + 2 + 20])


def test_an_adapter_starts_equal_to_its_base_and_merges():
    adapter = LoRA(rank=4, alpha=8)
    x = jax.random.normal(jax.random.key(1), (3, 16))
    params = jit(Dense(5, lora=adapter).init)(jax.random.key(0), x)["params"]
    base = {k: v for k, v in params.items() if "lora" not in k}
    plain = Dense(5).apply({"params": base}, x)
    np.testing.assert_array_equal(Dense(5, lora=adapter).apply({"params": params}, x), plain)
    assert abs(float(params["lora_a"].std()) - 1 / 4) < 0.06

    params["lora_b"] = jax.random.normal(jax.random.key(2), (4, 5))
    adapted = Dense(5, lora=adapter).apply({"params": params}, x)
    merged = lora.merge({"layer": params}, adapter)
    assert set(merged["layer"]) == {"kernel", "bias"}
    np.testing.assert_allclose(Dense(5).apply({"params": merged["layer"]}, x), adapted, atol=1e-5)
    back = lora.unmerge(merged, {"layer": params}, adapter)["layer"]
    assert set(back) == set(params)
    np.testing.assert_allclose(back["kernel"], params["kernel"], atol=1e-6)


def test_layer_norm_by_hand():
    x = jnp.array([[1.0, 3.0]])
    variables = {"params": {"scale": jnp.array([2.0, 2.0]), "bias": jnp.array([0.0, 1.0])}}
    np.testing.assert_allclose(LayerNorm(0.0).apply(variables, x), [[-2.0, 3.0]])
    # The variance is 1, so an epsilon of 3 halves the result.
    np.testing.assert_allclose(LayerNorm(3.0).apply(variables, x), [[-1.0, 2.0]])


def test_attention_averages_what_the_mask_allows():
    value = jnp.array([[1.0], [3.0], [100.0]])[None, :, None]
    zeros = jnp.zeros((1, 3, 1, 1))
    mask = jnp.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]], bool)[None, None]
    out = weighted_values(attention_weights(zeros, zeros, mask), value)
    np.testing.assert_allclose(out[0, :, 0, 0], [1.0, 2.0, 100.0])


def test_modulation_stands_between_attention_and_mlp():
    block = Block(heads=1, mlp_width=4, layer_scale=0.5)
    x = jax.random.normal(jax.random.key(0), (2, 3, 4))
    params = jit(block.init)(jax.random.key(1), x)["params"]
    # Without MLP output, the block is x1 = x + ls1 Attn(norm1 x), then (1 + scale) x1 + shift.
    params["mlp"]["fc2"] = jax.tree.map(jnp.zeros_like, params["mlp"]["fc2"])
    x1 = jit(block.apply)({"params": params}, x)
    scale, shift = jnp.full((2, 4), 2.0), jnp.array([[1.0] * 4, [-1.0] * 4])
    modulated = jit(block.apply)({"params": params}, x, None, (scale, shift))
    np.testing.assert_allclose(modulated, 3 * x1 + shift[:, None], atol=1e-6)


def test_unknown_names_list_the_choices():
    with pytest.raises(InputError, match="gelu_exact.*relu"):
        Block(1, 4, activation="swish").init(jax.random.key(0), jnp.zeros((1, 2, 4)))
