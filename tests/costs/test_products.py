"""Products counted in functions small enough to count by hand."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semanticvla_jax.costs.products import Loop, total, trace
from semanticvla_jax.errors import InputError


def f32(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def test_one_matrix_product():
    (product,) = trace(lambda x, w: x @ w, f32(3, 4), f32(4, 5)).products
    assert product.flops == 2 * 3 * 4 * 5
    assert (product.rows, product.weight_bytes, product.weights) == (3, 4 * 5 * 4, True)


def test_a_product_with_batch_axes_is_between_activations():
    """Attention of 2 heads, 6 queries, 7 keys, 8 channels."""
    (product,) = trace(
        lambda q, k: jnp.einsum("hqd,hkd->hqk", q, k), f32(2, 6, 8), f32(2, 7, 8)
    ).products
    assert product.flops == 2 * 2 * 6 * 7 * 8
    assert (product.rows, product.weight_bytes, product.weights) == (6, 0, False)


def test_weights_count_in_the_type_they_are_multiplied_in():
    def cast(x, w):
        return x.astype(jnp.bfloat16) @ w.astype(jnp.bfloat16)

    assert trace(cast, f32(3, 4), f32(4, 5)).products[0].weight_bytes == 4 * 5 * 2


@pytest.mark.parametrize("groups, inputs", [(1, 6), (3, 2)])
def test_convolution(groups, inputs):
    """3x3 over 5x5 pixels with borders, 6 -> 9 channels, each of which sees `inputs` channels."""

    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )

    (product,) = trace(convolve, f32(1, 5, 5, 6), f32(3, 3, inputs, 9)).products
    assert product.flops == 2 * (5 * 5 * 9) * (3 * 3 * inputs)
    assert (product.rows, product.weight_bytes) == (25, 3 * 3 * inputs * 9 * 4)


def test_scans_multiply_and_nest():
    def run(x, w):
        def inner(x, _):
            return x @ w, None

        def outer(x, _):
            return jax.lax.scan(inner, x, length=5)[0], None

        return jax.lax.scan(outer, x, length=7)[0]

    (product,) = trace(run, f32(3, 4), f32(4, 4)).products
    assert product.flops == 7 * 5 * 2 * 3 * 4 * 4
    assert (product.rows, product.weight_bytes) == (3, 7 * 5 * 4 * 4 * 4)


def test_wrapped_functions_count_once():
    @jax.custom_jvp
    def product(x, w):
        return x @ w

    product.defjvp(lambda primals, tangents: (product(*primals), product(*tangents)))

    def run(x, w):
        return jax.jit(jax.checkpoint(product))(x, w)

    assert total(trace(run, f32(3, 4), f32(4, 5)).products) == 2 * 3 * 4 * 5


def test_of_two_branches_the_dearer_one_counts():
    def run(flag, x, w):
        return jax.lax.cond(flag, lambda: x @ w @ w, lambda: x @ w)

    flag = jax.ShapeDtypeStruct((), jnp.bool_)
    assert total(trace(run, flag, f32(3, 4), f32(4, 4)).products) == 2 * (2 * 3 * 4 * 4)


def until(limit):
    """A loop that ends early where x stops growing; `limit(count)` is the rest of its condition."""

    def run(x, w):
        def unfinished(carry):
            count, x = carry
            return limit(count) & (x[0, 0] > 0)

        return jax.lax.while_loop(unfinished, lambda c: (c[0] + 1, c[1] @ w), (0, x))

    return run


def test_open_loops_count_with_their_bound_or_as_stated():
    bounded = until(lambda count: count < 7)
    once = 2 * 3 * 4 * 4
    traced = trace(bounded, f32(3, 4), f32(4, 4))
    assert total(traced.products) == 7 * once and traced.loops == [Loop("", 7)]
    assert total(trace(bounded, f32(3, 4), f32(4, 4), trips=2).products) == 2 * once


def test_an_open_loop_without_a_bound_needs_a_number():
    unbounded = until(lambda count: count == count)
    with pytest.raises(InputError, match="no constant bound .* --loop_trips"):
        trace(unbounded, f32(3, 4), f32(4, 4))
    assert total(trace(unbounded, f32(3, 4), f32(4, 4), trips=2).products) == 2 * 2 * 3 * 4 * 4


def test_operations_that_hide_products_are_refused():
    def run(x, w):
        out = jax.ShapeDtypeStruct((3, 5), jnp.float32)
        return jax.ffi.ffi_call("somebody's kernel", out)(x, w)

    with pytest.raises(InputError, match="found the operation 'ffi_call'"):
        trace(run, f32(3, 4), f32(4, 5))


class Layer(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        return nn.Dense(4, name="linear")(x), None


class Part(nn.Module):
    def setup(self):
        layers = nn.scan(
            nn.remat(Layer), variable_axes={"params": 0}, split_rngs={"params": True}, length=3
        )
        self.layers, self.readout = layers(), nn.Dense(2)

    def encode(self, x):
        return self.readout(self.layers(x, None)[0])


class Whole(nn.Module):
    part: Part

    def __call__(self, x):
        return self.helper(x)

    def helper(self, x):
        return self.part.encode(x)


def test_modules_are_found_through_methods_scans_and_rematerialisation():
    model = Whole(Part())
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((3, 4))))
    inner, outer = trace(model.apply, params, f32(3, 4)).products
    assert inner.module.startswith("part/layers/") and inner.module.endswith("/linear")
    assert (inner.flops, inner.weight_bytes) == (3 * 2 * 3 * 4 * 4, 3 * 4 * 4 * 4)
    assert (outer.module, outer.flops) == ("part/readout", 2 * 3 * 4 * 2)


@given(st.lists(st.integers(1, 9), min_size=3, max_size=3), st.integers(1, 4), st.integers(1, 4))
def test_repeating_a_product_scales_its_cost(shape, first, second):
    (product,) = trace(lambda x, w: x @ w, f32(*shape[:2]), f32(*shape[1:])).products
    assert product.times(first).times(second) == product.times(first * second)
    assert product.times(first).rows == shape[0]
