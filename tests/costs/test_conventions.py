"""A model small enough to count by hand, in all conventions; every part belongs to a component."""

from __future__ import annotations

import pytest

from semanticvla_jax.costs import components, conventions, inference, parameters, roofline, tokens
from semanticvla_jax.costs.chips import Chip
from semanticvla_jax.costs.products import Product
from semanticvla_jax.robots import LIBERO
from semanticvla_jax.training import parameters as names
from tests.models import smallest

PROMPT = 5
IMAGES, PATCHES, QUERIES, CUES = 2, 16, 4, 2
SEQUENCE = 1 + IMAGES * (CUES + QUERIES) + 1 + PROMPT + 2 * 3 + 1


def traced(**slots) -> inference.Inference:
    """`smallest.config`: towers 8 wide with 2 heads, MLP 8, two blocks; decoder 16 wide, one."""
    return inference.trace_model(smallest.config(**slots), LIBERO, prompt_tokens=PROMPT)


@pytest.fixture(scope="module")
def smallest_inference() -> inference.Inference:
    return traced()


def linear(rows: int, *widths: int) -> int:
    """FLOPs of dense layers in a row."""
    return sum(2 * rows * a * b for a, b in zip(widths, widths[1:], strict=False))


def block(batch: int, length: int, width: int, mlp: int) -> tuple[int, int]:
    """(linear, attention) FLOPs of a transformer block."""
    rows = batch * length
    products = linear(rows, width, 3 * width) + linear(rows, width, width)
    return products + linear(rows, width, mlp, width), 2 * 2 * batch * length * length * width


def test_every_component_by_hand(smallest_inference):
    counts, _ = conventions.conventions(smallest_inference)
    ours = {name: (work.linear, work.attention) for name, work in counts["ours"].items()}
    embed = linear(IMAGES * PATCHES, 4 * 4 * 3, 8)
    dino, siglip = (block(IMAGES, n, 8, 8) for n in (1 + PATCHES + QUERIES, PATCHES))
    text_width = 8
    assert ours == {
        "DINOv2": (embed + 2 * dino[0], 2 * dino[1]),
        "SigLIP": (embed + 2 * siglip[0], 2 * siglip[1]),
        "SigLIP text": block(1, 8, text_width, 8),
        "text MLP": (linear(8, text_width, 8, 8), 0),
        # Similarity of all patches with all words, then the weighted patches of each cue.
        "pruners": (0, 2 * IMAGES * PATCHES * 8 * 8 + 2 * IMAGES * CUES * PATCHES * 8),
        "FiLM": (2 * 2 * linear(1, 16, 8), 0),
        "Dense-Fuser": (2 * 2 * linear(IMAGES * PATCHES, 16, 16, 8), 0),
        "Sparse-Fuser projector": (linear(IMAGES * QUERIES, 16, 16, 16, 16), 0),
        "cue projector": (linear(IMAGES * CUES, 8, 16, 16), 0),
        "proprioception": (linear(1, 8, 16, 16), 0),
        "LLM": (
            4 * linear(SEQUENCE, 16, 16) + 3 * linear(SEQUENCE, 16, 16),
            2 * 2 * SEQUENCE * SEQUENCE * 16,
        ),
        "head": (3 * linear(2, 16, 8) + 2 * linear(2, 8, 3) + linear(2, 8, 1), 0),
    }


def test_tokens(smallest_inference):
    assert tokens.count(smallest_inference) == tokens.Tokens(
        cues=CUES, anchors=QUERIES, images=12, prompt=PROMPT, actions=6, sequence=SEQUENCE
    )


def test_full_repeats_per_image_what_depends_on_the_instruction_alone(smallest_inference):
    counts, additions = conventions.conventions(smallest_inference)
    assert {a.component for a in additions} == {"FiLM", "SigLIP text", "text MLP"}
    for name in ("FiLM", "SigLIP text", "text MLP"):
        assert counts["full"][name].total == IMAGES * counts["ours"][name].total
    assert conventions.total(counts["full"]) == conventions.total(counts["ours"]) + sum(
        a.flops.total for a in additions
    )


def test_conventions_leave_out_what_they_say(smallest_inference):
    counts, _ = conventions.conventions(smallest_inference)
    assert counts["lean"]["SigLIP text"] == counts["ours"]["SigLIP text"]
    paper_like = counts["paper_like"]
    assert not {"SigLIP text", "text MLP", "lm_head"} & set(paper_like)
    assert all(paper_like[name].attention == 0 for name in ("DINOv2", "SigLIP", "LLM"))
    assert paper_like["pruners"] == counts["ours"]["pruners"]


def test_released_towers_and_vocabulary_head_run_to_their_ends():
    model = smallest.config()
    for tower in ("dino", "siglip"):
        model[tower]["feature_layer"] = -2
    model["fuser"]["dense_fuser"]["pairs"] = ()
    model["llm"]["lm_head"] = True
    shallow = inference.trace_model(model, LIBERO, prompt_tokens=PROMPT)
    counts, _ = conventions.conventions(shallow)
    deep, _ = conventions.conventions(traced())
    for tower in ("DINOv2", "SigLIP"):
        assert counts["full"][tower] == deep["ours"][tower]
        assert counts["lean"][tower] == deep["ours"][tower]
    assert "lm_head" not in counts["ours"] and "lm_head" not in counts["lean"]
    assert counts["full"]["lm_head"].total == linear(SEQUENCE, 16, 40)


@pytest.mark.parametrize("config", [smallest.config, smallest.released])
def test_every_module_and_parameter_has_a_component(config):
    one = inference.trace_model(config(), LIBERO, prompt_tokens=PROMPT)
    known = {name for _, name in components.MODULES}
    assert {components.component(p.module) for p in one.products} <= known
    assert {components.component(name) for name in names.flatten(one.params)} <= known


def test_parameters_sum_up_and_follow_the_groups(smallest_inference):
    everything = names.count(smallest_inference.params)
    all_trained = parameters.sizes(smallest_inference, ((".*", 1.0),))
    assert parameters.total(all_trained) == parameters.Size(everything, everything, 4 * everything)
    frozen = parameters.sizes(smallest_inference, (("llm/.*", None), (".*", 1.0)))
    assert frozen["LLM"].trainable == 0 and frozen["LLM"].count == all_trained["LLM"].count
    # Vocabulary, four attention and three MLP matrices, three norms.
    assert frozen["LLM"].count == 40 * 16 + 7 * 16 * 16 + 3 * 16


def test_adapters_are_counted_apart_and_run_merged(smallest_inference):
    adapted = traced(lora={"rank": 2, "alpha": 4})
    assert adapted.products == smallest_inference.products
    sizes = parameters.sizes(adapted, ((".*/lora_[ab]", 1.0), (".*", None)))
    # Rank 2: q, k, v, o, gate, up, down 16 -> 16; in two blocks of two towers qkv, proj, fc1, fc2.
    assert sizes["LoRA"].count == 7 * 2 * 32 + 4 * (2 * (8 + 24) + 3 * 2 * (8 + 8))
    assert parameters.total(sizes).trainable == sizes["LoRA"].count


CHIP = Chip("chip", peak=100.0, bandwidth=10.0, memory=1.0)


def product(module: str, flops: int, rows: int, weight_bytes: int) -> Product:
    return Product(module, flops, rows, weight_bytes, weights=weight_bytes > 0)


def test_passes_of_the_decoder_are_bound_each_by_its_own_term():
    """A long pass is bound by compute, three short ones by reading the same weights again."""
    counted = [
        product("dino/blocks_0/mlp/fc1", 100, 50, 5),
        product("fuser/dense_fuser/pair_0_dino/fc1", 100, 50, 5),
        product("coupler/llm/layers/q_proj", 1000, 50, 20),
        product("coupler/llm/layers/self_attn", 200, 99, 0),
        product("coupler/Llama/layers/q_proj", 60, 1, 60),
        product("coupler/Llama/lm_head", 30, 1, 30),
        product("coupler/head/fc1", 10, 1, 10),
    ]
    found = {stage.name: stage for stage in roofline.stages(counted)}
    assert {name: (s.flops, s.weight_bytes) for name, s in found.items()} == {
        "encoders": (200, 10),
        "LLM, 50 positions": (1200, 20),
        "LLM, 1 position": (90, 90),
        "projectors, head": (10, 10),
    }
    seconds = {name: stage.seconds(CHIP) for name, stage in found.items()}
    assert list(seconds.values()) == [2.0, 12.0, 9.0, 1.0]
    bounds = [stage.bound(CHIP) for stage in found.values()]
    assert bounds == ["compute", "compute", "memory", "memory"]
    assert roofline.total_seconds(list(found.values()), CHIP) == 24.0
