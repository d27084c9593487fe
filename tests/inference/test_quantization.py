"""Weights of few bits: how far products and actions move, and what is quantised."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import qwix
from hypothesis import given, settings
from hypothesis import strategies as st

from semanticvla_jax.errors import InputError
from semanticvla_jax.inference import fused
from semanticvla_jax.inference.numerics import parameter_bytes
from semanticvla_jax.inference.quantization import PRECISIONS, Precision, quantize
from semanticvla_jax.training import parameters
from tests.inference.test_fused import actions, expected_actions, scanned

LARGEST = {"int8": 127.5, "int4": 7.5}  # the range is symmetric about the rounding


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), weights=st.sampled_from(sorted(LARGEST)))
def test_each_weight_moves_by_half_a_step_at_most(seed, weights):
    """A step is the channel's largest magnitude over the type's range; clipping takes another half.

    The largest magnitude itself lies half a step beyond the largest whole number.
    """
    kernel = np.random.default_rng(seed).normal(size=(64, 5)).astype(np.float32)
    found = Precision(weights).kernel(jnp.asarray(kernel))
    step = np.abs(kernel).max(0) / LARGEST[weights]
    np.testing.assert_allclose(found.scale[0], step, rtol=1e-5)
    moved = np.abs(np.asarray(found.qvalue, np.float32) * found.scale - kernel)
    assert (moved <= 0.501 * step).all()


def test_a_product_by_hand():
    kernel = jnp.array([[127.5, 0.0], [-51.0, 1.0]])
    quantized = PRECISIONS["int8"].kernel(kernel)
    np.testing.assert_allclose(quantized.scale, [[1.0, 1 / 127.5]], rtol=1e-6)
    np.testing.assert_array_equal(quantized.qvalue, [[127, 0], [-51, 127]])
    x = jnp.array([[2.0, 1.0]])
    expected = [[2 * 127 - 51, 127 / 127.5]]
    np.testing.assert_allclose(PRECISIONS["int8"].product(x, quantized), expected, rtol=1e-6)


def test_tiles_have_scales_of_their_own_where_they_divide():
    precision = PRECISIONS["int4"]
    kernel = jnp.concatenate([jnp.full((128, 2), 0.01), jnp.full((128, 2), 10.0)])
    assert precision.kernel(kernel).scale.shape == (2, 2)
    assert precision.kernel(kernel[:100]).scale.shape == (1, 2)
    x = jnp.ones((1, 256))
    np.testing.assert_allclose(
        precision.product(x, precision.kernel(kernel)), x @ kernel, rtol=0.08
    )


@pytest.mark.parametrize("name", PRECISIONS)
def test_actions_are_those_of_the_rounded_weights_and_weights_shrink(name):
    """Exactly so, unless activations are rounded as well."""
    model, params = fused.unstack(*scanned())
    other, small = unstacked(name)
    rounded = parameters.unflatten(
        {n: dequantized(leaf) for n, leaf in parameters.flatten(small).items()}
    )
    found, expected = actions(other, small), actions(model, rounded)
    assert np.abs(expected - expected_actions()).max() > 1e-3
    np.testing.assert_allclose(found, expected, atol=0.5 if name == "w8a8" else 1e-5)
    kernel = parameters.flatten(small)["llm/layers_0/mlp/up_proj/kernel"]
    assert kernel.qvalue.dtype == jnp.dtype(PRECISIONS[name].weights)
    before = parameters.flatten(params)["llm/layers_0/mlp/up_proj/kernel"]
    bits = 4 if name == "int4" else 8
    assert parameter_bytes(kernel) == before.size * bits // 8 + 4 * before.shape[1]
    assert parameter_bytes(before) == 4 * before.size


@functools.cache
def unstacked(precision: str):
    return quantize(*fused.unstack(*scanned()), precision)


def dequantized(leaf):
    return qwix.dequantize(leaf) if hasattr(leaf, "qvalue") else leaf


def test_towers_and_decoder_are_quantised_and_nothing_else():
    model, params = scanned()
    _, small = quantize(model, params, "int8")
    quantized = {n for n, leaf in parameters.flatten(small).items() if hasattr(leaf, "qvalue")}
    assert {n.split("/")[0] for n in quantized} == {"siglip", "dino", "llm"}
    assert not any("patch_embed" in n or "embed_tokens" in n for n in quantized)
    assert sum(n.startswith("dino/blocks_1") for n in quantized) == 4
    # Stacked layers keep a scale per layer and channel.
    stack = parameters.flatten(small)["llm/layers/self_attn/q_proj/kernel"]
    assert stack.scale.shape == (3, 1, 16)


def test_stacked_layers_quantise_like_those_one_by_one():
    model, small = quantize(*scanned(), "int8")
    _, apart = fused.unstack(model, small)
    jax.tree.map(np.testing.assert_array_equal, apart, unstacked("int8")[1])
    np.testing.assert_allclose(actions(model, small), actions(*unstacked("int8")), atol=1e-5)


def test_unknown_precision():
    with pytest.raises(InputError, match="'int3', expected one of int8, int4, w8a8"):
        quantize(None, {}, "int3")
