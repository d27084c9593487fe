"""Formats: values land where the same function needs them, and assumptions are compared."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
import scipy.ndimage
from safetensors.numpy import save_file

from semanticvla_jax.errors import InputError
from semanticvla_jax.models import vit
from semanticvla_jax.models.build import build
from semanticvla_jax.weights import importing, layouts, rules
from semanticvla_jax.weights.formats import dinov2
from semanticvla_jax.weights.formats.registry import FORMATS
from tests.parity.golden import Golden
from tests.weights import published, small


def dino_tower(**changes) -> vit.VisionTower:
    sizes = dict(image_size=56, width=24, depth=3, heads=3, mlp_width=96)
    sizes |= dict(class_token=True, registers=4, layer_scale=1e-5)
    return vit.VisionTower(**sizes, patch_embed=vit.PatchEmbed(24, 14), **changes)


def test_class_position_folds_into_the_token_exactly(shared_dir):
    case = Golden(shared_dir / "goldens", "f_hf_dinov2_registers_public")
    pixels = jnp.asarray(case.inputs["pixel_values"].transpose(0, 2, 3, 1))
    embedded = {}
    for on_class in (True, False):
        tower = dino_tower(position_on_class=on_class)
        model = build(small.released()).clone(dino=tower)
        arrays = case.weights if on_class else dinov2.class_position_folded(case.weights)
        shapes = jax.eval_shape(lambda t=tower: t.init(jax.random.key(0), pixels))["params"]
        params, _ = rules.convert(arrays, FORMATS["dinov2-hf"].rules(model), {"dino": shapes})
        assert params["dino"]["pos_embed"].shape[1] == 16 + on_class
        embedded[on_class] = tower.apply({"params": params["dino"]}, pixels, method="embed")
    np.testing.assert_array_equal(embedded[True], embedded[False])
    np.testing.assert_allclose(embedded[False], case.outputs["hidden0"], atol=1e-5)


def test_added_vocabulary_rows_are_the_mean_and_never_win():
    rows = np.random.default_rng(0).standard_normal((10, 4)).astype(np.float32)
    padded = layouts.padded_rows(12)(rows)
    np.testing.assert_array_equal(padded[:10], rows)
    np.testing.assert_allclose(padded[10:], [rows.mean(0)] * 2, rtol=1e-6)
    states = np.random.default_rng(1).standard_normal((1000, 4))
    assert (states @ padded.T.astype(np.float64)).argmax(1).max() < 10
    assert layouts.padded_rows(8)(rows).shape == (10, 4)  # Too many stay, and fail on their shape.


def test_bilinear_positions_keep_the_corners():
    grid = np.random.default_rng(0).standard_normal((1, 16, 3)).astype(np.float32)
    found = layouts.resampled(7, layouts.bilinear)(grid).reshape(7, 7, 3)
    square = grid.reshape(4, 4, 3)
    np.testing.assert_array_equal(
        found[[0, 0, 6, 6], [0, 6, 0, 6]], square[[0, 0, 3, 3], [0, 3, 0, 3]]
    )
    # Halfway between two columns of the first row.
    np.testing.assert_allclose(found[0, 1], (square[0, 0] + square[0, 1]) / 2, rtol=1e-5)
    np.testing.assert_array_equal(found, scipy.ndimage.zoom(square, (7 / 4, 7 / 4, 1), order=1))


@pytest.mark.parametrize("old, new", [(37, 16), (4, 7)])
def test_bicubic_positions_equal_pillows_antialiased_ones(old, new):
    table = np.random.default_rng(0).standard_normal((1, old * old, 1)).astype(np.float32)
    found = layouts.resampled(new, layouts.bicubic)(table).reshape(new, new)
    image = PIL.Image.fromarray(table.reshape(old, old))
    expected = np.asarray(image.resize((new, new), PIL.Image.Resampling.BICUBIC))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_positions_of_the_same_grid_are_untouched():
    table = np.ones((1, 16, 2), "V2").view(np.uint16)  # Would not survive any arithmetic.
    assert layouts.resampled(4, layouts.bicubic)(table) is table


def written(folder, shapes: dict, config: dict | None = None):
    folder.mkdir()
    save_file(published.random_arrays(shapes), folder / "model.safetensors")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


TOWER = published.Tower(2, 8, 16, patch=4, patches=16, pool=True)
DINO = published.Tower(2, 12, 16, patch=4, patches=16, registers=4, class_token=True)
LLAMA = dict(depth=2, width=8, mlp=16, vocabulary=40)


@pytest.mark.parametrize(
    "name, shapes, config, told",
    [
        ("openvla", published.openvla(dino=DINO, siglip=TOWER, **LLAMA), {}, None),
        (
            "openvla",
            published.openvla(dino=DINO, siglip=TOWER, **LLAMA),
            {"text_config": {"rms_norm_eps": 1e-5}},
            "openvla: llm.rms_epsilon is 1e-06 in the model, 1e-05 in the checkpoint",
        ),
        (
            "siglip-hf-vision",
            published.siglip_vision("", tower=TOWER),
            None,
            "siglip.activation is 'gelu_exact' in the model, 'gelu_tanh' in the checkpoint",
        ),
        (
            "siglip-hf-text",
            published.siglip_text("", tower=TOWER, vocabulary=24, length=6),
            {"text_config": {"hidden_act": "gelu"}},
            "text_encoder.activation is 'gelu_tanh' in the model, 'gelu_exact'",
        ),
        ("dinov2-timm", published.timm("", DINO), None, None),
        (
            "dinov2-hf",
            published.dinov2_hf(tower=DINO),
            {"num_attention_heads": 4},
            "dino.heads is 2 in the model, 4",
        ),
        (
            "llama",
            published.llama("", **LLAMA),
            None,
            "llm.rms_epsilon is 1e-06 in the model, 1e-05",
        ),
        ("llama", published.llama("", **LLAMA), {"rms_norm_eps": 1e-6}, None),
        (
            "llama",
            published.llama("", **LLAMA),
            {"rms_norm_eps": 1e-6, "rope_scaling": {"factor": 2}},
            "rope_scaling is None in the model, {'factor': 2}",
        ),
    ],
)
def test_assumptions_of_a_checkpoint_are_compared(tmp_path, name, shapes, config, told):
    path = written(tmp_path / "source", shapes, config)
    opened = importing.open_checkpoints([(name, path)], build(small.released()))
    if told is None:
        importing.refuse_differences(opened.differences)
    else:
        with pytest.raises(InputError) as caught:
            importing.refuse_differences(opened.differences)
        assert told in str(caught.value)


def test_several_checkpoints_fill_one_model(tmp_path):
    config = small.released(dtype="float32")
    openvla = published.openvla(dino=DINO, siglip=TOWER, **LLAMA)
    text = published.siglip_text("", tower=TOWER, vocabulary=24, length=6)
    requests = [
        ("openvla", written(tmp_path / "a", openvla)),
        ("siglip-hf-text", written(tmp_path / "b", text)),
    ]
    opened = importing.open_checkpoints(requests, build(config))
    importing.refuse_differences(opened.differences)
    _, report = importing.plan_import(opened, small.shapes_of(config))
    key = "pruners/text_encoder/token_embed/embedding"
    assert report.used[key] == ["siglip-hf-text:text_model.embeddings.token_embedding.weight"]
    assert "openvla:vision_backbone.fused_featurizer.attn_pool.latent" in report.ignored
    assert not any(n.startswith("pruners/text_encoder") for n in report.fresh)
    with pytest.raises(InputError, match="each format once"):
        importing.open_checkpoints([requests[0], requests[0]], build(config))


def test_two_checkpoints_for_one_place_are_refused(tmp_path):
    config = small.released(dtype="float32")
    openvla = published.openvla(dino=DINO, siglip=TOWER, **LLAMA)
    requests = [
        ("openvla", written(tmp_path / "a", openvla)),
        ("dinov2-timm", written(tmp_path / "b", published.timm("", DINO))),
    ]
    opened = importing.open_checkpoints(requests, build(config))
    with pytest.raises(InputError, match="claim: dino/.*openvla:.*and dinov2-timm:"):
        importing.plan_import(opened, small.shapes_of(config))


def test_openvlas_last_blocks_have_no_place_behind_the_feature_layer():
    config = small.released(depth=2)
    for tower in ("dino", "siglip"):
        config[tower]["feature_layer"] = -2
    config["fuser"]["dense_fuser"]["pairs"] = ()
    theirs = published.outlines(published.openvla(dino=DINO, siglip=TOWER, **LLAMA))
    opened = importing.Opened(
        theirs, FORMATS["openvla"].rules(build(config)), [FORMATS["openvla"]], {}, None
    )
    _, report = importing.plan_import(opened, small.shapes_of(config))
    last = {n for n in theirs if ".blocks.1." in n and n.startswith("vision")}
    assert last and {n for n, why in report.ignored.items() if "behind" in why} == last
    assert "dino/blocks_0/ls1" in report.used


def test_the_message_shows_both_sides_and_stays_short():
    theirs = published.outlines(published.openvla(dino=DINO, siglip=TOWER, **LLAMA))
    theirs = {n.replace("language_model.", "decoder."): a for n, a in theirs.items()}
    config = small.released()
    opened = importing.Opened(
        theirs, FORMATS["openvla"].rules(build(config)), [FORMATS["openvla"]], {}, None
    )
    with pytest.raises(InputError) as caught:
        importing.plan_import(opened, small.shapes_of(config))
    message = str(caught.value)
    assert "that no rule matches: decoder.model.embed_tokens.weight" in message
    assert "that the source lacks: llm/embed_tokens/embedding" in message
    assert len(message) < 1500
