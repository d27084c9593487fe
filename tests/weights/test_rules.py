"""Import rules: layouts, joined and stacked parts, strict accounting."""

from __future__ import annotations

import numpy as np
import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.weights import authors, hugging_face, layouts, rules


class Huge:
    """Shape of a float32 parameter, without one."""

    dtype = np.float32

    def __init__(self, shape):
        self.shape = shape


def shapes(**names) -> dict:
    return rules.unflatten_dict(
        {k.replace("__", "/"): np.zeros(v, np.float32) for k, v in names.items()}, sep="/"
    )


def test_linear_layers_are_transposed_with_their_adapters():
    source = {
        "x.fc1.base_layer.weight": np.arange(6.0).reshape(2, 3),
        "x.fc1.base_layer.bias": np.ones(2),
        "x.fc1.lora_A.default.weight": np.zeros((4, 3)),
        "x.fc1.lora_B.default.weight": np.zeros((2, 4)),
    }
    target = shapes(fc1__kernel=(3, 2), fc1__bias=(2,), fc1__lora_a=(3, 4), fc1__lora_b=(4, 2))
    params, report = rules.convert(source, authors.linear(r"x\.(fc\d)", r"\1"), target)
    np.testing.assert_array_equal(params["fc1"]["kernel"], [[0, 3], [1, 4], [2, 5]])
    assert params["fc1"]["kernel"].dtype == np.float32
    assert not report.ignored and not report.fresh


def test_separate_products_are_joined_and_layers_stacked_where_the_model_scans():
    source = {f"l.{name}.weight": np.full((2, 2), i) for i, name in enumerate("abc")}
    joined = hugging_face.hf_attention(r"l\.", "", "a b c")
    params, _ = rules.convert(source, joined, shapes(qkv__kernel=(2, 6)))
    np.testing.assert_array_equal(params["qkv"]["kernel"], [[0, 0, 1, 1, 2, 2]] * 2)

    source = {f"m.{i}.weight": np.full(2, i) for i in (1, 0)}
    stacked = [rules.Rule(r"m\.(\d)\.weight", r"layers_\1/scale")]
    params, _ = rules.convert(source, stacked, shapes(layers__scale=(2, 2)))
    np.testing.assert_array_equal(params["layers"]["scale"], [[0, 0], [1, 1]])
    params, _ = rules.convert(source, stacked, shapes(layers_0__scale=(2,), layers_1__scale=(2,)))
    np.testing.assert_array_equal(params["layers_1"]["scale"], [1, 1])


def test_patch_kernels_follow_our_patch_order():
    x = np.arange(2 * 3 * 2 * 2).reshape(2, 3, 2, 2)
    kernel = layouts.patch_kernel(x)
    assert kernel.shape == (12, 2)
    # Row (row 0, column 1, channel 2) of output 1.
    assert kernel[(0 * 2 + 1) * 3 + 2, 1] == x[1, 2, 0, 1]


def test_fuser_entries_are_pairs_of_towers():
    rule_list = authors.dense_fuser(r"c\.", "fuser/")
    name, rule = rules.locate("c.aggregate_proj.5.2.weight", rule_list)
    assert name == "fuser/pair_2_siglip/fc2/kernel" and rule.layout is layouts.transposed


@pytest.mark.parametrize(
    "source, message",
    [
        ({"x.fc1.weight": np.zeros((2, 3))}, "source lacks.*fc1/bias"),
        ({"x.fc2.weight": np.zeros((2, 3))}, "no rule matches.*x.fc2.weight"),
        (
            {"x.fc1.weight": np.zeros((2, 2)), "x.fc1.bias": np.zeros(2)},
            r"shapes that differ.*fc1/kernel: \(2, 2\) from x.fc1.weight, expected \(3, 2\)",
        ),
        (
            {
                "x.fc1.weight": np.zeros((2, 3)),
                "x.fc1.bias": np.zeros(2),
                "x.fc1.lora_A.weight": np.zeros((1, 3)),
            },
            "not in the model.*fc1/lora_a",
        ),
        (
            {
                "x.fc1.weight": np.zeros((2, 3)),
                "x.fc1.base_layer.weight": np.zeros((2, 3)),
                "x.fc1.bias": np.zeros(2),
            },
            "two foreign parameters claim.*x.fc1.weight and x.fc1.base_layer.weight",
        ),
    ],
)
def test_nothing_is_dropped_or_left_in_silence(source, message):
    with pytest.raises(InputError, match=message):
        rules.convert(
            source, authors.linear(r"x\.fc1", "fc1"), shapes(fc1__kernel=(3, 2), fc1__bias=(2,))
        )


def test_ignored_and_fresh_parameters_are_reported():
    rule_list = [rules.ignore("head.*", "never run"), *authors.linear("x", "x")]
    source = {"head.weight": np.zeros(3), "x.weight": np.zeros((1, 1))}
    _, report = rules.convert(
        source, rule_list, shapes(x__kernel=(1, 1), x__bias=(1,)), fresh=["x/bias"]
    )
    assert report.ignored == {"head.weight": "never run"} and report.fresh == ["x/bias"]


@pytest.mark.parametrize(
    "layers, message",
    [((0, 2), r"layers \[0, 2\], expected 2"), ((0, 1), None), ((1, 2), r"layers \[1, 2\]")],
)
def test_stacked_targets_need_every_layer(layers, message):
    source = {f"m.{i}.weight": np.zeros(3) for i in layers}
    stacked = [rules.Rule(r"m\.(\d)\.weight", r"layers_\1/scale")]
    target = shapes(layers__scale=(2, 3))
    if message is None:
        rules.plan(source, stacked, target)
    else:
        with pytest.raises(InputError, match=message):
            rules.plan(source, stacked, target)


def test_planning_reads_no_values():
    source = {"x.weight": Huge((1 << 40, 3))}
    target = {"x": {"kernel": Huge((3, 1 << 40))}}
    targets, report = rules.plan(source, authors.linear("x", "x"), target)
    assert targets[0].pieces[0].name == "x.weight" and report.used == {"x/kernel": ["x.weight"]}


def test_a_layout_that_does_not_fit_is_a_difference_of_shapes():
    with pytest.raises(InputError, match=r"p: \(2, 3\), which the layout does not fit, from x"):
        rules.plan({"x": np.zeros((2, 3))}, [rules.Rule("x", "p", layouts.first)], shapes(p=(3,)))
