"""Export: the exact inverse of import; adapters merged, kept, or refused."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semanticvla_jax.errors import InputError
from semanticvla_jax.models.lora import LoRA, merge
from semanticvla_jax.weights import authors, export_layouts, hugging_face, layouts, rules, timm
from semanticvla_jax.weights.export import export
from tests.weights import small

LAYOUTS = [layouts.transposed, layouts.patch_kernel, layouts.first, layouts.leading]


def import_again(arrays, params, rule_list):
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)
    return rules.convert(arrays, rule_list, shapes)[0]


@settings(max_examples=8, deadline=None)
@given(
    scan=st.booleans(),
    lora=st.booleans(),
    sizes=st.sampled_from([(8, 2, "bfloat16"), (12, 1, "float32")]),
    seed=st.integers(0, 99),
)
def test_importing_an_export_gives_the_same_bits(scan, lora, sizes, seed):
    width, depth, dtype = sizes
    config = small.released(width=width, depth=depth, scan=scan, lora=lora, dtype=dtype)
    params = small.random_parameters(config, seed)
    arrays = export_layouts.semanticvla_arrays(params)
    assert any("lora_A" in name for name in arrays) == lora
    found = import_again(arrays, params, authors.semanticvla(lm_head=True))
    small.assert_bitwise_equal(found, params)


@pytest.mark.parametrize("scan", [True, False])
def test_openvla_takes_what_it_has(scan):
    params = small.random_parameters(small.released(scan=scan, lora=False))
    theirs = small.only(
        params, lambda n: n.startswith(("dino", "siglip", "llm", "fuser/sparse_fuser/projector"))
    )
    arrays = export_layouts.openvla_arrays(theirs)
    assert "vision_backbone.featurizer.blocks.0.ls1.scale_factor" in arrays
    assert arrays["language_model.model.layers.1.mlp.down_proj.weight"].shape == (8, 16)
    found = import_again(arrays, theirs, authors.openvla(lm_head=True))
    small.assert_bitwise_equal(found, theirs)
    with pytest.raises(InputError, match="no name in this layout.*(pruners|head|coupler)"):
        export_layouts.openvla_arrays(params)


def test_adapters_are_never_dropped_in_silence():
    params = small.random_parameters(small.released())
    with pytest.raises(InputError, match="adapter factors.*--merge_lora"):
        export_layouts.openvla_arrays(params)


def test_merged_export_is_the_base_plus_the_scaled_product():
    params = small.random_parameters(small.released(dtype="float32"))
    params = small.only(params, lambda name: name.startswith("llm/layers/mlp/up_proj"))
    merged = export_layouts.semanticvla_arrays(merge(params, LoRA(rank=2, alpha=4)))
    assert not any("lora" in name for name in merged)
    apart = export_layouts.semanticvla_arrays(params)
    layer = "language_model.model.layers.1.mlp.up_proj"
    weight, a, b = (
        np.asarray(apart[f"{layer}.{name}"], np.float64)
        for name in ("weight", "lora_A.weight", "lora_B.weight")
    )
    # torch's layout: W [out, in], A [rank, in], B [out, rank]; scale alpha / rank = 2.
    expected = weight + 2 * b @ a
    np.testing.assert_allclose(np.asarray(merged[f"{layer}.weight"]), expected, atol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_undo_themselves(layout):
    shape = {layouts.transposed: (3, 5), layouts.patch_kernel: (5, 3, 2, 2)}.get(layout, (1, 4, 6))
    x = np.arange(np.prod(shape)).reshape(shape)
    np.testing.assert_array_equal(layout.backward(layout.forward(x)), x)


@pytest.mark.parametrize(
    "rule_list",
    [
        authors.semanticvla(lm_head=True),
        authors.openvla(lm_head=True),
        timm.timm_vit("", "t/", final_norm=True),
        hugging_face.hf_siglip_text("", "t/"),
        hugging_face.hf_siglip_vision("", "t/"),
        hugging_face.hf_dinov2("", "t/"),
        hugging_face.hf_llama("", "t/", lm_head=True),
    ],
)
def test_what_a_rule_writes_it_reads(rule_list):
    samples = {r"(\d+)": "7", r"(\d)": "1", r"(\w+_proj)": "q_proj", r"(norm\d)": "norm2"}
    samples |= {r"(fc\d)": "fc2", r"(ls\d)": "ls1"}
    for rule in rule_list:
        if rule.target is None:
            continue
        written, ours = rule._inverse[1], rule._inverse[0].pattern
        for group, value in samples.items():
            ours = ours.replace(group, value)
        ours = ours.replace("(cls_token|reg_token)", "reg_token").replace("(qkv|proj)", "qkv")
        ours = ours.replace("(self_attn|mlp)", "mlp").replace("(scale|shift)", "shift")
        ours = ours.replace("(input_layernorm|post_attention_layernorm)", "input_layernorm")
        foreign = rule.foreign(ours)
        assert foreign and rule.match(foreign) and rule.apply(foreign) == ours, written


def test_names_written_are_the_canonical_ones():
    def written(ours, rule_list):
        return next(name for rule in rule_list if (name := rule.foreign(ours)))

    whole, plain = authors.semanticvla(lm_head=True), authors.openvla(lm_head=True)
    kernel = "dino/blocks_3/attn/qkv/kernel"
    tower = "vision_backbone.vision_backbone.featurizer.blocks.3"
    assert written(kernel, whole) == f"{tower}.block.attn.qkv.weight"
    assert written("pruners/dino/films_3/shift/bias", whole) == f"{tower}.shift.bias"
    plain_tower = "vision_backbone.featurizer.blocks.3"
    assert written(kernel, plain) == f"{plain_tower}.attn.qkv.weight"
    assert written("dino/blocks_3/ls2", plain) == f"{plain_tower}.ls2.scale_factor"
    cues = "fuser/sparse_fuser/siglip_cue_projector/fc1/kernel"
    assert written(cues, whole) == "fused_featurizer_sampler_proj.fc1.weight"
    pair = "fuser/dense_fuser/pair_2_siglip/fc2/bias"
    assert written(pair, whole) == "vision_backbone.cross_vit_model.aggregate_proj.5.2.bias"


def test_a_rule_that_cannot_be_written_says_so():
    with pytest.raises(ValueError, match="does not say what to write"):
        rules.Rule(r"a\.\d+\.b", "x").foreign("x")
    with pytest.raises(ValueError, match="each group"):
        rules.Rule(r"a\.(\d+)\.(\d+)", r"x_\1").foreign("x_1")


def test_two_parameters_never_share_a_name():
    both = [rules.Rule("same", "a"), rules.Rule("same", "b")]
    with pytest.raises(InputError, match="written twice: same"):
        export({"a": np.zeros(1), "b": np.zeros(1)}, both)
