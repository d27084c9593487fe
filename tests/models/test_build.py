"""Configurations: complete presets, parameter counts at full size, errors."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from semanticvla_jax.errors import InputError
from semanticvla_jax.models import presets
from semanticvla_jax.models.build import build
from tests.models import smallest

# Millions of parameters. The text tower's pooling head (1.3 M) and SigLIP's (15 M) are never run,
# hence not owned; with their adapters (1.2 M at rank 64) the adapters would be 219.4 M.
LIBERO = {
    "llm": 6738.9,
    "pruners/text_encoder": 449.7 - 1.328,
    "siglip": 412.4,
    "dino": 303.2,
    "head": 251.9,
    "pruners/dino/films": 201.4,
    "fuser/sparse_fuser/projector": 71.4,
    "fuser/dense_fuser": 42.6,
    "fuser/sparse_fuser/siglip_cue_projector": 21.5,
    "coupler": 16.8,
    "pruners/siglip/text_projector": 2.7,
    "pruners/dino/queries": 0.0,
    "lora": 219.4 - 1.214,
}
ALOHA = LIBERO | {"head": 403.0, "lora": 109.7 - 0.607}


def millions(model, cameras: int, state: int) -> dict[str, float]:
    """Parameters of each component, without allocating any."""
    shape = jax.ShapeDtypeStruct
    batch = {
        "images": shape((1, cameras, 224, 224, 3), jnp.uint8),
        "state": shape((1, state), jnp.float32),
        "prompt_ids": shape((1, 30), jnp.int32),
        "prompt_mask": shape((1, 30), bool),
        "text_ids": shape((1, 64), jnp.int32),
    }
    params = jax.eval_shape(lambda b: model.init(jax.random.key(0), b), batch)["params"]
    counts: dict[str, float] = {}
    for name, leaf in flatten_dict(params, sep="/").items():
        group = "lora" if "lora_" in name else next(k for k in LIBERO if name.startswith(k))
        counts[group] = counts.get(group, 0) + np.prod(leaf.shape) / 1e6
        trained = not name.startswith(("llm", "siglip", "dino", "pruners/text_encoder"))
        expected = jnp.float32 if trained or group == "lora" else jnp.bfloat16
        assert leaf.dtype == expected, name
    return counts


@pytest.mark.parametrize(
    "preset, cameras, state, expected",
    [(presets.semanticvla_7b_libero, 2, 8, LIBERO), (presets.semanticvla_7b_aloha, 3, 14, ALOHA)],
)
def test_parameter_counts_at_full_size(preset, cameras, state, expected):
    counts = millions(build(preset()), cameras, state)
    assert counts == pytest.approx(expected, abs=0.06)


def test_a_configuration_survives_json():
    model = build(json.loads(json.dumps(presets.tiny())))
    assert model.fuser.dense_fuser.pairs == ((0, 0), (1, 1))
    assert repr(model) == repr(build(presets.tiny()))


def broken(path: str, value) -> dict:
    config = smallest.config()
    *parents, last = path.split(".")
    place = config
    for key in parents:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return config


@pytest.mark.parametrize(
    "path, value, message",
    [
        ("head", None, r"missing \['head'\]"),
        ("heads", {}, r"unknown \['heads'\]"),
        ("llm.name", "gpt", "'gpt', expected one of llama, fastv_llama"),
        ("llm.widht", 3, r"unknown \['widht'\]"),
        ("llm.depth", None, r"missing \['depth'\]"),
        ("coupler.mask", {"name": "hybird"}, "'hybird', expected one of hybrid"),
        ("coupler.mask", "hybrid", 'expected {"name": ...'),
        ("pruners.siglip.anchors", 17, "found 17, expected at most the tower's 16 patches"),
        ("fuser.dense_fuser.pairs", ((0, 2),), r"found \[0, 2\], expected blocks up to \[1, 1\]"),
        ("siglip.heads", 3, "heads dividing the width"),
    ],
)
def test_mistakes_are_named(path, value, message):
    with pytest.raises(InputError, match=message):
        build(broken(path, value))


def test_pruners_may_change_places():
    config = smallest.config()
    pruners = config["pruners"]
    pruners["siglip"], pruners["dino"] = pruners["dino"], pruners["siglip"]
    model = build(config)
    batch = smallest.batch()
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), batch))["params"]
    assert "text_projector" in shapes["pruners"]["dino"]
    assert "dino_cue_projector" in shapes["fuser"]["sparse_fuser"]


def test_adapters_are_for_the_towers_and_the_language_model_only():
    model = build(smallest.released(lora={"rank": 2, "alpha": 4}))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), smallest.batch()))["params"]
    flat = flatten_dict(shapes, sep="/")
    adapted = {name.rpartition("/")[0] for name in flat if name.endswith("lora_a")}
    assert adapted == {
        name.rpartition("/")[0]
        for name in flat
        if name.endswith("kernel")
        and name.startswith(("siglip/blocks", "dino/blocks", "llm/layers"))
    }
    assert flat["llm/layers_0/mlp/up_proj/lora_a"].shape == (16, 2)
