"""big_vision's SigLIP archives against the computation that they were made for, in plain numpy."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from semanticvla_jax.models.build import build
from semanticvla_jax.weights import big_vision, importing, rules
from tests.models.smallest import jit
from tests.weights import published, small

HEADS = 2
TOWER = published.Tower(2, 8, 16, patch=4, patches=16)
SHAPES = published.big_vision(image=TOWER, text=TOWER, heads=HEADS, vocabulary=24, length=6)


def model_config(**changes) -> dict:
    """The released model with big_vision's activation in the SigLIP tower."""
    config = small.released(dtype="float32", lora=False)
    config["siglip"] |= {"activation": "gelu_tanh", **changes}
    return config


def stacked(arrays: dict) -> dict:
    """The same with blocks stacked on a leading axis."""
    out = {n: a for n, a in arrays.items() if "encoderblock_" not in n}
    for name in arrays:
        if "encoderblock_0/" in name:
            layers = [arrays[name.replace("block_0", f"block_{i}")] for i in range(TOWER.depth)]
            out[name.replace("encoderblock_0", "encoderblock")] = np.stack(layers)
    return out


def imported(path, config, names=("big-vision-image", "big-vision-text")) -> dict:
    model, shapes = build(config), small.shapes_of(config)
    opened = importing.open_checkpoints([(name, path) for name in names], model)
    importing.refuse_differences(opened.differences)
    fresh = importing.may_stay_fresh(opened.formats)
    return rules.convert(opened.arrays, opened.rules, shapes, fresh=fresh)[0]


def layer_norm(x, scale, bias):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale + bias


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def block(x: np.ndarray, p: dict, prefix: str) -> np.ndarray:
    """One encoder block [B, S, W] with separate query, key and value maps [W, H, D]."""

    def get(name):
        return p[f"{prefix}/{name}"].astype(np.float64)

    y = layer_norm(x, get("LayerNorm_0/scale"), get("LayerNorm_0/bias"))
    attention = "MultiHeadDotProductAttention_0"
    q, k, v = (
        np.einsum("bsw,whd->bshd", y, get(f"{attention}/{n}/kernel")) + get(f"{attention}/{n}/bias")
        for n in ("query", "key", "value")
    )
    logits = np.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(q.shape[-1])
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights = weights / weights.sum(-1, keepdims=True)
    mixed = np.einsum("bhqk,bkhd->bqhd", weights, v)
    x = x + np.einsum("bqhd,hdw->bqw", mixed, get(f"{attention}/out/kernel"))
    x = x + get(f"{attention}/out/bias")
    y = layer_norm(x, get("LayerNorm_1/scale"), get("LayerNorm_1/bias"))
    y = gelu_tanh(y @ get("MlpBlock_0/Dense_0/kernel") + get("MlpBlock_0/Dense_0/bias"))
    return x + y @ get("MlpBlock_0/Dense_1/kernel") + get("MlpBlock_0/Dense_1/bias")


def image_tokens(p: dict, pixels: np.ndarray) -> np.ndarray:
    """[B, 16, 16, 3] -> [B, 16, W] before the last norm."""
    kernel = p["img/embedding/kernel"].astype(np.float64)
    cells = pixels.reshape(len(pixels), 4, 4, 4, 4, 3)  # row, its pixels, column, its pixels
    x = np.einsum("brpcqk,pqkw->brcw", cells, kernel) + p["img/embedding/bias"]
    x = x.reshape(len(pixels), 16, -1) + p["img/pos_embedding"]
    for i in range(TOWER.depth):
        x = block(x, p, f"img/Transformer/encoderblock_{i}")
    return x


def text_tokens(p: dict, ids: np.ndarray) -> np.ndarray:
    x = p["txt/Embed_0/embedding"].astype(np.float64)[ids] + p["txt/pos_embedding"]
    for i in range(TOWER.depth):
        x = block(x, p, f"txt/Encoder_0/encoderblock_{i}")
    norm = "txt/Encoder_0/encoder_norm"
    return layer_norm(x, p[f"{norm}/scale"], p[f"{norm}/bias"])


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    arrays = {n: 0.3 * a for n, a in published.random_arrays(SHAPES).items()}
    path = tmp_path_factory.mktemp("big_vision") / "siglip.npz"
    np.savez(path, **arrays)
    return arrays, path


def test_towers_compute_what_the_archive_was_made_for(archive):
    arrays, path = archive
    config = model_config()
    params, model = imported(path, config), build({**config, "dtype": "float32"})
    rng = np.random.default_rng(1)
    pixels = rng.uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)
    run = jit(model.siglip.clone().apply)
    found = run({"params": params["siglip"]}, pixels)
    np.testing.assert_allclose(found, image_tokens(arrays, pixels), atol=2e-5)
    ids = rng.integers(0, 24, (2, 6))
    run = jit(model.pruners.text_encoder.clone().apply)
    found = run({"params": params["pruners"]["text_encoder"]}, ids)
    np.testing.assert_allclose(found, text_tokens(arrays, ids), atol=2e-5)


@pytest.mark.parametrize("prefix", ["", "params/"])
@pytest.mark.parametrize("arrange", [dict, stacked])
def test_all_ways_of_storing_give_the_same_parameters(archive, tmp_path, prefix, arrange):
    arrays, path = archive
    other = {prefix + name: array for name, array in arrange(arrays).items()}
    np.savez(tmp_path / "other.npz", **other)
    config = model_config()
    small.assert_bitwise_equal(imported(tmp_path / "other.npz", config), imported(path, config))


def test_bfloat16_archives_arrive_as_stored(archive, tmp_path):
    half = {n: a.astype(ml_dtypes.bfloat16) for n, a in archive[0].items()}
    np.savez(tmp_path / "half.npz", **half)
    params = imported(tmp_path / "half.npz", model_config())
    kernel = params["siglip"]["blocks_1"]["mlp"]["fc1"]["kernel"]
    name = "img/Transformer/encoderblock_1/MlpBlock_0/Dense_0/kernel"
    np.testing.assert_array_equal(kernel, half[name].astype(np.float32))


def test_positions_are_resampled_for_larger_images(archive):
    arrays, path = archive
    config = model_config(image_size=28)
    config["dino"]["image_size"] = 28  # Both towers see the same images.
    params = imported(path, config, ["big-vision-image"])
    found = params["siglip"]["pos_embed"].reshape(7, 7, 8)
    corners = arrays["img/pos_embedding"].reshape(4, 4, 8)[::3, ::3]
    np.testing.assert_array_equal(found[::6, ::6], corners)


def test_heads_are_read_off_the_kernels(archive):
    opened = importing.open_checkpoints(
        [("big-vision-image", archive[1])], build(model_config(heads=4))
    )
    assert opened.differences == {"big-vision-image: siglip.heads": (4, 2)}
    assert big_vision.head_count(archive[0], "txt") == 2


def test_ignored_arrays_have_reasons(archive):
    config = model_config()
    opened = importing.open_checkpoints([("big-vision-image", archive[1])], build(config))
    _, report = importing.plan_import(opened, small.shapes_of(config))
    reasons = {
        name.split("/")[1] if "/" in name else name: why for name, why in report.ignored.items()
    }
    assert "pooling head" in reasons["MAPHead_0"] and "contrastive" in reasons["t"]
    assert "big-vision-text" in reasons["Embed_0"]
    assert "img/Transformer/encoder_norm/scale" in report.ignored
