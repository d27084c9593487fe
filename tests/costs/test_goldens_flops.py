"""At full size, against an independent count of the released code: goldens/flops_table.json."""

from __future__ import annotations

import functools
import json

import pytest
from ml_collections import ConfigDict

from configs import semanticvla_aloha, semanticvla_libero
from semanticvla_jax.costs import conventions, inference, parameters, roofline, tokens
from semanticvla_jax.costs.chips import CHIPS

ROWS = {
    "SemanticVLA Z=32+5, 24 act": (semanticvla_libero, ""),
    "SemanticVLA-Lite Z=16+5": (semanticvla_libero, "lite"),
    "SemanticVLA R=4 Z=64+5": (semanticvla_libero, "r4"),
    "SemanticVLA R=32 Z=8+5": (semanticvla_libero, "r32"),
    "SemanticVLA ALOHA 3 img 150 act": (semanticvla_aloha, ""),
    "OpenVLA-OFT 2 img, 56 act": (semanticvla_libero, "openvla_oft"),
    "OpenVLA 2 images (AR 7 tok)": (semanticvla_libero, "openvla,libero_single_step"),
    "OpenVLA 1 image (native, AR 7 tok)": (semanticvla_libero, "openvla,libero_one_camera"),
}
QUICK = (
    "SemanticVLA Z=32+5, 24 act",
    "SemanticVLA ALOHA 3 img 150 act",
    "OpenVLA-OFT 2 img, 56 act",
    "OpenVLA 2 images (AR 7 tok)",
)


def marked(row: str, *values) -> pytest.param:
    """Slow, unless it is one of the few rows that the quick tests trace anyway, with P = 20."""
    quick = row in QUICK and 33 not in values
    return pytest.param(row, *values, marks=() if quick else pytest.mark.slow)


CASES = [marked(row, prompt) for prompt in (20, 33) for row in ROWS]
# The golden table has the released LIBERO heads (251.87 M) in the ALOHA row too, whose are 403.0 M.
ALOHA_HEADS = 402.98 / 251.87

# Golden component -> ours, (component, kind) each.
BOTH = ("linear", "attention")
COMPONENTS = {
    "DINOv2": [("DINOv2", BOTH)],
    "SigLIP": [("SigLIP", BOTH)],
    "SigLIP-text": [("SigLIP text", BOTH), ("text MLP", BOTH)],
    "FiLM": [("FiLM", BOTH)],
    "DenseFuser": [("Dense-Fuser", BOTH)],
    "IDPruner": [("pruners", BOTH)],
    "Proj": [("Sparse-Fuser projector", BOTH)],
    "Proj(sparse fuser)": [("Sparse-Fuser projector", BOTH), ("cue projector", BOTH)],
    "heads": [("head", BOTH)],
    "proprio": [("proprioception", BOTH)],
    "LLM linears": [("LLM", ("linear",))],
    "LLM attention": [("LLM", ("attention",))],
    "lm_head": [("lm_head", BOTH)],
}
PARAMETERS = {
    "DINOv2": "DINOv2",
    "SigLIP": "SigLIP",
    "SigLIP-text": "SigLIP text",
    "text_post_proj": "text MLP",
    "FiLM": "FiLM",
    "DenseFuser": "Dense-Fuser",
    "projector": "Sparse-Fuser projector",
    "V2L proj": "cue projector",
    "agg tokens": "queries",
    "heads": "head",
    "proprio": "proprioception",
    "LLM": "LLM",
}


@functools.cache
def traced(row: str, prompt_tokens: int) -> inference.Inference:
    return inference.trace(config(row), prompt_tokens=prompt_tokens)


def config(row: str) -> ConfigDict:
    file, chosen = ROWS[row]
    return file.get_config(chosen)


def sizes(row: str) -> dict[str, parameters.Size]:
    return parameters.sizes(traced(row, 20), config(row).optimizer.groups)


def golden(shared_dir, row: str, prompt_tokens: int) -> dict:
    table = json.loads((shared_dir / "goldens" / "flops_table.json").read_text())
    return table[f"{row} |P={prompt_tokens}"]


@pytest.mark.parametrize("row, prompt_tokens", CASES)
def test_flops_in_every_convention_and_component(shared_dir, row, prompt_tokens):
    expected, one = golden(shared_dir, row, prompt_tokens), traced(row, prompt_tokens)
    counts, _ = conventions.conventions(one)
    assert tokens.count(one).sequence == expected["seq"]
    for name in ("full", "lean", "paper_like"):
        assert conventions.total(counts[name]) / 1e12 == pytest.approx(
            expected[f"{name}_T"], rel=0.01
        )
    ours = {
        theirs: sum(getattr(counts["full"][name], kind) for name, kinds in parts for kind in kinds)
        for theirs, parts in COMPONENTS.items()
        if theirs in expected["breakdown_T"]
    }
    if "ALOHA" in row:
        expected["breakdown_T"]["heads"] *= ALOHA_HEADS
    # The table has four digits behind the point, and the pooling of all words, not of the cues.
    assert {name: flops / 1e12 for name, flops in ours.items()} == pytest.approx(
        expected["breakdown_T"], rel=0.01, abs=1.5e-4
    )


@pytest.mark.parametrize("row, prompt_tokens", CASES)
def test_lower_bounds_of_the_time(shared_dir, row, prompt_tokens):
    stages = roofline.stages(traced(row, prompt_tokens).products)
    expected = golden(shared_dir, row, prompt_tokens)["roofline_ms"]
    names = {"A800": "a800", "H200(meas)": "h200", "v5e": "v5e", "v6e": "v6e"}
    ours = {
        theirs: 1e3 * roofline.total_seconds(stages, CHIPS[name]) for theirs, name in names.items()
    }
    assert ours == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("row", [marked(row) for row in ROWS])
def test_parameters(shared_dir, row):
    expected = golden(shared_dir, row, 20)
    counts = {name: size.count for name, size in sizes(row).items()}
    for extra in parameters.unowned(traced(row, 20)):
        counts[extra.component] += extra.count
    if "ALOHA" in row:
        expected["params_M"]["heads"] *= ALOHA_HEADS
    ours = {theirs: counts[PARAMETERS[theirs]] / 1e6 for theirs in expected["params_M"]}
    # The table's ALOHA row has LIBERO's state size too, 8 numbers for 14.
    assert ours == pytest.approx(expected["params_M"], abs=0.03)


@pytest.mark.parametrize(
    "row, adapters, full",
    [
        ("SemanticVLA Z=32+5, 24 act", 219.4, 608.3),
        ("SemanticVLA ALOHA 3 img 150 act", 109.7, 759.4),
    ],
)
def test_trainable_parameters_of_the_released_runs(row, adapters, full):
    """Millions, as specified. The released adapters include those of layers that never run."""
    own = sizes(row)
    never_run = sum(extra.trainable for extra in parameters.unowned(traced(row, 20)))
    lora = own.pop("LoRA").trainable + never_run
    assert lora / 1e6 == pytest.approx(adapters, abs=0.05)
    assert parameters.total(own).trainable / 1e6 == pytest.approx(full, abs=0.05)
