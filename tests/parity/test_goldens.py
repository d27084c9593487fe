"""Every public reference case, through the checks of `check_goldens`."""

from __future__ import annotations

import functools

import pytest

from semanticvla_jax.models import presets
from semanticvla_jax.models.build import build
from tests.parity import registry
from tests.parity.golden import Golden, case_names
from tests.parity.precision import BFLOAT16, FLOAT32, Precision
from tests.parity.quantities import Quantity
from tests.parity.whole_model import WholeModel

PUBLIC = (
    "a_id_pruner_notext_public",
    "a_id_pruner_public",
    "b_film_dino_noreg_public",
    "b_film_dino_reg4_public",
    "b_null_dino_reg4_public",
    "c_cross_vit_lastpair_public",
    "c_cross_vit_public",
    "d_backbone_2img_public",
    "d_backbone_nocross_1img_public",
    "d_openvla_plain_2img_public",
    "e_aloha_public",
    "e_libero_public",
    "f_eps_probe_public",
    "f_hf_dinov2_registers_public",
    "f_hf_llama_public",
    "f_hf_siglip_text_public",
    "f_hf_siglip_vision_public",
    "f_timm_dinov2_reg4_public",
    "f_timm_siglip_vision_public",
    "g_lora_train_public",
    "h_lr_schedule",
    "i_heads_post_aloha_public",
    "i_heads_post_libero_public",
    "j_image_preproc_public",
    "p_vlapruner_history_public",
    "p_vlapruner_llama_public",
    "p_vlapruner_select_public",
)
MODELS = tuple(name for name in PUBLIC if name[0] in registry.MODEL_CASES)
QUICK_MODELS = ("a_id_pruner_public", "f_hf_llama_public")


def failures(directory, name: str, precision: Precision) -> list[Quantity]:
    quantities = registry.run_case(directory, name, precision).quantities
    assert quantities
    return [quantity for quantity in quantities if not quantity.passed]


def test_every_public_case_is_listed(shared_dir):
    names = case_names(shared_dir / "goldens")
    assert set(PUBLIC) == {name for name in names if not registry.left_case(name)}


@pytest.mark.parametrize("name", PUBLIC)
def test_float32(shared_dir, name):
    assert not failures(shared_dir / "goldens", name, FLOAT32)


@pytest.mark.parametrize("name", QUICK_MODELS)
def test_bfloat16(shared_dir, name):
    assert not failures(shared_dir / "goldens", name, BFLOAT16)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(MODELS) - set(QUICK_MODELS)))
def test_bfloat16_of_the_others(shared_dir, name):
    assert not failures(shared_dir / "goldens", name, BFLOAT16)


def test_the_presets_say_what_the_cases_say(shared_dir):
    """Parity holds for the released preset, not for parts that only tests put together."""
    case = Golden(shared_dir / "goldens", "j_image_preproc_public").config
    released = presets.semanticvla_7b_libero()
    assert list(released["dino"]["mean"]) == case["dino_mean"]
    assert list(released["dino"]["std"]) == case["dino_std"]
    whole = Golden(shared_dir / "goldens", "e_libero_public")
    model = WholeModel(whole, FLOAT32).model
    ours = build(released)
    for slot in ("pruners", "fuser", "coupler", "head", "llm", "siglip", "dino"):
        assert type(getattr(ours, slot)) is type(getattr(model, slot))
    for path in SHARED:
        assert attribute(ours, path) == attribute(model, path), path


# What is no size: functions, kinds, epsilons, ids. The mean without pads is a deliberate change.
SHARED = (
    "coupler.mask",
    "coupler.first_row",
    "coupler.bos_id",
    "coupler.stop_id",
    "coupler.activation",
    "head.action_tokens",
    "llm.rms_epsilon",
    "llm.rope_theta",
    "llm.activation",
    "dino.activation",
    "dino.epsilon",
    "dino.class_token",
    "dino.registers",
    "dino.position_on_class",
    "dino.feature_layer",
    "siglip.activation",
    "siglip.epsilon",
    "siglip.feature_layer",
    "pruners.pad_id",
    "pruners.text_encoder.activation",
    "pruners.text_encoder.epsilon",
    "pruners.siglip.temperature",
    "pruners.siglip.text_layers",
    "pruners.siglip.noise",
    "pruners.siglip.activation",
    "pruners.dino.film",
    "fuser.dense_fuser.activation",
    "fuser.sparse_fuser.activation",
    "fuser.sparse_fuser.hidden_ratio",
)


def attribute(module, path: str):
    return functools.reduce(getattr, path.split("."), module)
