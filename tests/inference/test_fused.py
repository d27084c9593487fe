"""The rearranged decoder computes what the trained one does."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest

from semanticvla_jax.inference import fused
from semanticvla_jax.inference.quantization import quantize
from semanticvla_jax.models import variants
from semanticvla_jax.models.build import build
from semanticvla_jax.training import parameters
from tests.models import smallest
from tests.models.smallest import jit


@functools.cache
def scanned(variant: str = "released"):
    """(model, parameters) with stacked layers; do not modify."""
    config = smallest.released()
    config["llm"] |= {"depth": 3, "kernel_init": "lecun", "embed_std": 1.0, "scan": True}
    model = build(variants.apply(variant, config))
    return model, jit(lambda: model.init(jax.random.key(0), smallest.batch()))()["params"]


def actions(model, params) -> np.ndarray:
    apply = jit(lambda p, b: model.apply({"params": p}, b)[0])
    return np.asarray(apply(params, smallest.batch()))


@functools.cache
def expected_actions(variant: str = "released") -> np.ndarray:
    return actions(*scanned(variant))


@pytest.mark.parametrize("rearrange", [fused.unstack, fused.fuse])
def test_actions_stay_the_same(rearrange):
    model, params = scanned()
    other, rearranged = rearrange(model, params)
    expected = expected_actions()
    assert expected.std() > 0.01
    np.testing.assert_allclose(actions(other, rearranged), expected, atol=1e-5)
    shapes = jax.eval_shape(lambda: other.init(jax.random.key(0), smallest.batch()))["params"]
    assert jax.tree.map(lambda x: x.shape, rearranged) == jax.tree.map(lambda x: x.shape, shapes)


def test_kernels_stand_side_by_side():
    model, params = scanned()
    stack = params["llm"]["layers"]
    _, rearranged = fused.fuse(model, params)
    flat = parameters.flatten(rearranged["llm"])
    qkv = flat["layers_1/self_attn/qkv_proj/kernel"]
    np.testing.assert_array_equal(qkv[:, 16:32], stack["self_attn"]["k_proj"]["kernel"][1])
    both = flat["layers_2/mlp/gate_up_proj/kernel"]
    np.testing.assert_array_equal(both[:, 16:], stack["mlp"]["up_proj"]["kernel"][2])
    sizes = [sum(x.size for x in jax.tree.leaves(tree)) for tree in (params, rearranged)]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("precision", ["", "int8"])
def test_what_was_fused_comes_apart_again(precision):
    model, params = fused.unstack(*scanned())
    together = fused.fuse(model, params)
    if precision:
        model, params = quantize(model, params, precision)
        together = quantize(*together, precision)
    apart, split = fused.unfuse(*together)
    assert type(apart.llm) is type(model.llm)
    jax.tree.map(np.testing.assert_array_equal, split, params)


def test_words_one_by_one_and_special_decoders():
    model, params = scanned("openvla")
    other, rearranged = fused.fuse(model, params)
    assert type(other.llm) is fused.FusedLlama
    np.testing.assert_array_equal(actions(other, rearranged), expected_actions("openvla"))
    config = variants.apply("fastv", smallest.released())
    config["llm"] |= {"depth": 3, "scan": True}
    model = build(config)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), smallest.batch()))["params"]
    other, _ = fused.fuse(model, jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes))
    assert type(other.llm) is type(model.llm) and not other.llm.scan
