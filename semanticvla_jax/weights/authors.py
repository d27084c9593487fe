r"""Rules for the authors' SemanticVLA and for OpenVLA, whose parts it keeps.

Each function gives the rules of one part; `source` is the regex of a foreign prefix (with its dot),
`target` ours (with its slash). Names are those of one whole model; authors_folder.py makes them of
a checkpoint folder's files.
"""

from __future__ import annotations

from semanticvla_jax.weights.hugging_face import hf_llama, hf_siglip_text
from semanticvla_jax.weights.layouts import first
from semanticvla_jax.weights.rules import Rule
from semanticvla_jax.weights.timm import timm_vit
from semanticvla_jax.weights.torch_layers import layer_norm, linear, plain_linear

# Real files have no leading `vla.`; PEFT adds `base_model.model.`.
MODEL = r"(?:vla\.)?(?:base_model\.model\.)?"
# A pair of blocks per block of DINOv2 at most.
MOST_PAIRS = 24


def film(source: str, target: str) -> list[Rule]:
    """The two language maps beside each wrapped block."""
    return linear(rf"{source}blocks\.(\d+)\.(scale|shift)", rf"{target}films_\1/\2")


def id_pruner(source: str, target: str) -> list[Rule]:
    """The authors' TextGuidedSampler; `target` is the Pruners'."""
    post = rf"{source}text_post_projector\."
    return [
        *hf_siglip_text(rf"{source}text_encoder\.", f"{target}text_encoder/"),
        *linear(rf"{post}0", f"{target}siglip/text_projector/fc1"),
        *linear(rf"{post}2", f"{target}siglip/text_projector/fc2"),
    ]


def dense_fuser(source: str, target: str) -> list[Rule]:
    """The authors' aggregate_proj list: entry 2 * pair + tower (DINOv2 first), layers 0 and 2."""
    return [
        rule
        for pair in range(MOST_PAIRS)
        for tower, name in enumerate(("dino", "siglip"))
        for layer, ours in ((0, "fc1"), (2, "fc2"))
        for rule in plain_linear(
            rf"{source}aggregate_proj\.{2 * pair + tower}\.{layer}",
            f"{target}pair_{pair}_{name}/{ours}",
        )
    ]


def projectors(source: str, target: str) -> list[Rule]:
    """OpenVLA's fused projector, and the authors' projector of V->L tokens."""
    cues = rf"{source}(?:fused_featurizer_|)sampler_proj\.(fc\d)"
    return [
        *linear(rf"{source}projector\.(fc\d)", rf"{target}projector/\1"),
        *linear(cues, rf"{target}siglip_cue_projector/\1"),
    ]


def residual_mlp(source: str, target: str) -> list[Rule]:
    """The action head's MLPResNet."""
    block = rf"{source}mlp_resnet_blocks\.(\d+)\.ffn\."
    return [
        *layer_norm(rf"{source}layer_norm(\d)", rf"{target}norm\1"),
        *linear(rf"{source}(fc\d)", rf"{target}\1"),
        *layer_norm(rf"{block}0", rf"{target}block_\1_norm"),
        *linear(rf"{block}1", rf"{target}block_\1_fc"),
    ]


def action_head(source: str, target: str) -> list[Rule]:
    """The authors' L1 regression head, one MLPResNet per type; OpenVLA-OFT's, one for all."""
    kinds = {f"model_{kind}": kind for kind in ("trans", "rot", "grip")} | {"model": "action"}
    return [
        rule
        for theirs, ours in kinds.items()
        for rule in residual_mlp(rf"{source}{theirs}\.", f"{target}{ours}/")
    ]


def vision_backbone(source: str = MODEL + r"vision_backbone\.") -> list[Rule]:
    """The authors' vision backbone: towers, FiLM, aggregation tokens, Dense-Fuser, ID-Pruner."""
    towers = rf"{source}vision_backbone\."
    # Their blocks stand inside wrappers that hold the FiLM maps.
    wrapper = r"(?:block\.|)"
    return [
        Rule(rf"{source}vision_queries", "pruners/dino/queries", first),
        *timm_vit(rf"{towers}featurizer\.", "dino/", wrapper=wrapper),
        *film(rf"{towers}featurizer\.", "pruners/dino/"),
        *timm_vit(rf"{towers}fused_featurizer\.", "siglip/", wrapper=wrapper),
        *film(rf"{towers}fused_featurizer\.", "pruners/siglip/"),
        *id_pruner(rf"{source}fused_featurizer_mm_sampler\.", "pruners/"),
        *dense_fuser(rf"{source}cross_vit_model\.", "fuser/dense_fuser/"),
    ]


def semanticvla(*, lm_head: bool = False) -> list[Rule]:
    """A complete model of the authors: VLA, proprioception projector and action head."""
    return [
        *vision_backbone(),
        *projectors(MODEL, "fuser/sparse_fuser/"),
        *hf_llama(MODEL + r"language_model\.", "llm/", lm_head=lm_head),
        *linear(r"proprio_projector\.(fc\d)", r"coupler/proprio_projector/\1"),
        *action_head(r"action_head\.", "head/"),
    ]


def openvla(*, lm_head: bool = False) -> list[Rule]:
    """OpenVLA: both towers without wrappers, the fused projector, Llama-2."""
    towers = MODEL + r"vision_backbone\."
    return [
        *timm_vit(rf"{towers}featurizer\.", "dino/"),
        *timm_vit(rf"{towers}fused_featurizer\.", "siglip/"),
        *linear(rf"{MODEL}projector\.(fc\d)", r"fuser/sparse_fuser/projector/\1"),
        *hf_llama(MODEL + r"language_model\.", "llm/", lm_head=lm_head),
    ]
