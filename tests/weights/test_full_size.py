"""Every name and shape of the published checkpoints has its place in the full-size models."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from semanticvla_jax.models import abstract, presets, variants
from semanticvla_jax.models.build import build
from semanticvla_jax.robots import ALOHA, LIBERO, LIBERO_ONE_CAMERA
from semanticvla_jax.weights.formats.registry import FORMATS, may_stay_fresh
from semanticvla_jax.weights.importing import Opened, plan_import
from tests.weights import published


@pytest.fixture(scope="module")
def libero():
    """(model, shapes) of the 7B model; nothing is allocated."""
    config = presets.semanticvla_7b_libero()
    shapes = abstract.init(build(config), abstract.abstract_batch(config, LIBERO, 8))
    return build(config), shapes


def planned(name: str, arrays: dict, model, shapes):
    """The plan's report; raises where a name has no place or a shape differs."""
    chosen = FORMATS[name]
    opened = Opened(arrays, chosen.rules(model), [chosen], {}, None)
    return plan_import(opened, shapes)[1]


def used(report) -> set[str]:
    return {name for names in report.used.values() for name in names}


def count(shapes: dict, prefix: str = "") -> int:
    return sum(math.prod(s) for n, s in shapes.items() if n.startswith(prefix))


def test_openvla_7b(libero):
    theirs = published.openvla()
    assert abs(count(theirs, "language_model.") - 6738.9e6) < 0.1e6
    # Spec: DINOv2 303.2 M and SigLIP 412.4 M as far as they are run, projector 71.4 M.
    assert abs(count(theirs, "vision_backbone.featurizer.") - 303.2e6) < 0.1e6
    assert abs(count(theirs, "projector.") - 71.4e6) < 0.1e6
    report = planned("openvla", published.outlines(theirs), *libero)
    assert used(report) | set(report.ignored) == set(theirs)
    pools = {n for n in theirs if ".attn_pool." in n}
    norms = {n for n in theirs if re.fullmatch(r"vision_backbone\.\w+\.norm\.\w+", n)}
    assert set(report.ignored) == pools | norms and len(norms) == 4
    fresh = {n for n in report.fresh if "/lora_" not in n}
    kinds = {"/".join(n.split("/")[:2]) for n in fresh}
    assert kinds == {
        "pruners/dino",
        "pruners/siglip",
        "pruners/text_encoder",
        "fuser/dense_fuser",
        "fuser/sparse_fuser",
        "coupler/proprio_projector",
        "head/trans",
        "head/rot",
        "head/grip",
    }
    projectors = {n for n in fresh if n.startswith("fuser/sparse_fuser")}
    assert all("siglip_cue_projector" in n for n in projectors)


def test_authors_checkpoint(libero):
    theirs = published.semanticvla()
    report = planned("semanticvla", published.outlines(theirs), *libero)
    assert used(report) | set(report.ignored) == set(theirs)
    assert not report.fresh and set(report.used) == set(flatten_dict(libero[1], sep="/"))
    adapters = sum(math.prod(s) for n, s in theirs.items() if ".lora_" in n)
    assert abs(adapters - 219.4e6) < 0.1e6  # Spec: LoRA 219.4 M, pooling head and lm_head included.


def test_authors_checkpoint_with_its_language_model_merged(libero):
    theirs = published.semanticvla()
    merged = {n: s for n, s in theirs.items() if not n.startswith("language_model.")}
    merged |= published.llama("language_model.")
    report = planned("semanticvla", published.outlines(merged), *libero)
    assert report.fresh and all(n.startswith("llm/") and "/lora_" in n for n in report.fresh)


def oft_checkpoint(*, film: bool) -> dict:
    """OpenVLA-OFT with the language model merged; its tower's adapters too, but for FiLM."""
    width = 4096
    head = published.residual_mlp("action_head.model.", 7 * width, width, 7)
    rest = published.linear("proprio_projector.fc1", width, 8)
    rest |= published.linear("proprio_projector.fc2", width, width) | head
    if not film:
        return published.openvla() | rest
    towers, options = (
        "vision_backbone.vision_backbone.",
        dict(film=width, wrapper="block.", rank=64),
    )
    whole = {n: s for n, s in published.openvla().items() if not n.startswith("vision_backbone.")}
    whole |= published.timm(
        f"{towers}featurizer.", published.DINOV2_L, scale="scale_factor", **options
    )
    return (
        whole
        | published.timm(f"{towers}fused_featurizer.", published.SIGLIP_SO400M, **options)
        | rest
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "variant, robot, name, theirs",
    [
        ("openvla", LIBERO_ONE_CAMERA, "openvla", published.openvla()),
        ("pd_vla", LIBERO, "openvla", published.openvla()),
        ("openvla_oft", LIBERO, "openvla-oft", oft_checkpoint(film=False)),
        ("openvla_oft_film", LIBERO, "openvla-oft", oft_checkpoint(film=True)),
    ],
)
def test_baselines(variant, robot, name, theirs):
    config = variants.apply(variant, presets.semanticvla_7b_libero())
    model = build(config)
    shapes = abstract.init(model, abstract.abstract_batch(config, robot, 8))
    report = planned(name, published.outlines(theirs), model, shapes)
    assert used(report) | set(report.ignored) == set(theirs)
    assert all("/lora_" in n for n in report.fresh)


@pytest.mark.slow
def test_authors_aloha_checkpoint():
    config = presets.semanticvla_7b_aloha()
    model = build(config)
    shapes = abstract.init(model, abstract.abstract_batch(config, ALOHA, 8))
    theirs = published.semanticvla(
        rank=32, state=14, tokens=6, action={"trans": 6, "rot": 6, "grip": 2}
    )
    assert not planned("semanticvla", published.outlines(theirs), model, shapes).fresh


@pytest.mark.parametrize(
    "name, theirs",
    [
        ("siglip-hf-text", published.siglip_text("") | published.siglip_vision("")),
        ("siglip-timm", published.timm("", published.SIGLIP_SO400M)),
        ("dinov2-timm", published.timm("", published.DINOV2_L)),
        ("big-vision-image", published.big_vision()),
        ("big-vision-text", published.big_vision()),
        ("llama", published.llama("")),
        ("llama", published.llama("", vocabulary=32000)),
    ],
)
def test_parts(libero, name, theirs):
    theirs = theirs | ({"logit_scale": (1,), "logit_bias": (1,)} if "-hf-" in name else {})
    report = planned(name, published.outlines(theirs), *libero)
    assert used(report) | set(report.ignored) == set(theirs)
    names, allowed = flatten_dict(libero[1], sep="/"), may_stay_fresh([FORMATS[name]])
    # Everything that it fills is filled; nothing else is.
    assert set(report.fresh) == {n for n in names if any(re.fullmatch(p, n) for p in allowed)}


def in_goldens(shared_dir, name: str) -> dict[str, tuple]:
    """Reference names and shapes, as real files have them."""
    arrays = np.load(shared_dir / "goldens" / f"{name}.npz")
    bare = {key.removeprefix("w/"): key for key in arrays.files if key.startswith("w/")}
    return {
        name.removeprefix("vla.").removeprefix("base_model.model."): arrays[key].shape
        for name, key in bare.items()
    }


@pytest.mark.parametrize(
    "name, depth, pairs, width, mlp, rank",
    [
        ("e_libero_public", (5, 6, 3), 2, 48, 96, 0),
        ("g_lora_train_public", (3, 3, 2), 2, 32, 64, 3),
    ],
)
def test_these_lists_are_the_reference_models_own(shared_dir, name, depth, pairs, width, mlp, rank):
    dino = published.Tower(depth[0], 24, 96, patches=16, registers=4, class_token=True)
    siglip = published.Tower(depth[1], 32, 80, patches=16, pool=True)
    theirs = published.semanticvla(
        dino=dino,
        siglip=siglip,
        text=published.Tower(2, 20, 36),
        text_vocabulary=60,
        text_length=12,
        queries=5,
        pairs=pairs,
        rank=rank,
        depth=depth[2],
        width=width,
        mlp=mlp,
    )
    assert theirs == in_goldens(shared_dir, name)


def test_plain_lists_are_the_reference_models_own(shared_dir):
    dino = published.Tower(3, 24, 96, patches=16, registers=4, class_token=True)
    assert published.timm("", dino) == in_goldens(shared_dir, "f_timm_dinov2_reg4_public")
    assert published.dinov2_hf(tower=dino) == in_goldens(shared_dir, "f_hf_dinov2_registers_public")
    text = published.Tower(2, 20, 36)
    found = published.siglip_text("", tower=text, vocabulary=60, length=10)
    assert found == in_goldens(shared_dir, "f_hf_siglip_text_public")
    vision = published.Tower(3, 24, 44, patches=16)
    assert published.siglip_vision("", tower=vision) == in_goldens(
        shared_dir, "f_hf_siglip_vision_public"
    )
    found = published.llama("", depth=3, width=32, mlp=56, vocabulary=80)
    assert found == in_goldens(shared_dir, "f_hf_llama_public")
    dino = dataclasses.replace(dino, depth=5)
    siglip = published.Tower(6, 32, 80, patches=16, pool=True)
    plain = in_goldens(shared_dir, "d_openvla_plain_2img_public")
    found = published.openvla(dino=dino, siglip=siglip, width=20)
    assert {n: s for n, s in found.items() if not n.startswith("language_model.")} == plain
