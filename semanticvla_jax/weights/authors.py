r"""Import rules for parameter names of the authors' SemanticVLA, OpenVLA, timm and Hugging Face.

Each function gives the rules of one family; `source` is the regex of a foreign prefix (with its
dot), `target` ours (with its slash). Adapters in PEFT naming (`base_layer`, `lora_A`, `lora_B`) are
part of every linear layer's rules.
"""

from __future__ import annotations

from semanticvla_jax.weights.rules import Rule, first, ignore, patch_kernel, transposed

# Real files have no leading `vla.`; PEFT adds `base_model.model.`.
MODEL = r"(?:vla\.)?(?:base_model\.model\.)?"
NEVER_RUN = "never run: features are taken from a block's output"


def linear(source: str, target: str, part: int = 0) -> list[Rule]:
    """torch Linear, with or without a PEFT adapter."""
    return [
        Rule(rf"{source}\.(?:base_layer\.)?weight", f"{target}/kernel", transposed, part),
        Rule(rf"{source}\.(?:base_layer\.)?bias", f"{target}/bias", part=part),
        Rule(rf"{source}\.lora_A\.(?:\w+\.)?weight", f"{target}/lora_a", transposed, part),
        Rule(rf"{source}\.lora_B\.(?:\w+\.)?weight", f"{target}/lora_b", transposed, part),
    ]


def layer_norm(source: str, target: str) -> list[Rule]:
    """torch LayerNorm or RMSNorm."""
    return [
        Rule(rf"{source}\.weight", f"{target}/scale"),
        Rule(rf"{source}\.bias", f"{target}/bias"),
    ]


def timm_vit(source: str, target: str, *, final_norm: bool = False) -> list[Rule]:
    """timm vision transformer; the authors wrap blocks (`blocks.i.block`), rename LayerScale."""
    block, ours = rf"{source}blocks\.(\d+)\.(?:block\.)?", rf"{target}blocks_\1/"
    norm = (
        layer_norm(rf"{source}norm", f"{target}norm")
        if final_norm
        else [ignore(rf"{source}norm\..*", NEVER_RUN)]
    )
    return [
        Rule(rf"{source}(cls_token|reg_token|pos_embed)", rf"{target}\1"),
        Rule(
            rf"{source}patch_embed\.proj\.weight", f"{target}patch_embed/proj/kernel", patch_kernel
        ),
        Rule(rf"{source}patch_embed\.proj\.bias", f"{target}patch_embed/proj/bias"),
        *layer_norm(rf"{block}(norm\d)", rf"{ours}\2"),
        *linear(rf"{block}attn\.(qkv|proj)", rf"{ours}attn/\2"),
        *linear(rf"{block}mlp\.(fc\d)", rf"{ours}mlp/\2"),
        Rule(rf"{block}(ls\d)\.(?:gamma|scale_factor)", rf"{ours}\2"),
        *norm,
        ignore(rf"{source}attn_pool\..*", "pooling head, never run"),
    ]


def film(source: str, target: str) -> list[Rule]:
    """The two language maps beside each wrapped block of the authors' DINOv2."""
    return linear(rf"{source}blocks\.(\d+)\.(scale|shift)", rf"{target}films_\1/\2")


def hf_attention(source: str, target: str, names: str = "q_proj k_proj v_proj") -> list[Rule]:
    """Three separate products -> our fused one."""
    return [
        rule
        for part, name in enumerate(names.split())
        for rule in linear(rf"{source}{name}", f"{target}qkv", part)
    ]


def hf_siglip_encoder(source: str, target: str) -> list[Rule]:
    """Layers of Hugging Face's SigLIP encoders, vision and text."""
    layer, ours = rf"{source}encoder\.layers\.(\d+)\.", rf"{target}blocks_\1/"
    return [
        *hf_attention(rf"{layer}self_attn\.", rf"{ours}attn/"),
        *linear(rf"{layer}self_attn\.out_proj", rf"{ours}attn/proj"),
        *layer_norm(rf"{layer}layer_norm(\d)", rf"{ours}norm\2"),
        *linear(rf"{layer}mlp\.(fc\d)", rf"{ours}mlp/\2"),
    ]


def hf_siglip_text(source: str, target: str) -> list[Rule]:
    """Hugging Face SiglipTextModel."""
    model = rf"{source}text_model\."
    embeddings = rf"{model}embeddings\."
    return [
        Rule(rf"{embeddings}token_embedding\.weight", f"{target}token_embed/embedding"),
        Rule(rf"{embeddings}position_embedding\.weight", f"{target}pos_embed"),
        *hf_siglip_encoder(model, target),
        *layer_norm(rf"{model}final_layer_norm", f"{target}norm"),
        ignore(rf"{model}head\..*", "pooling head, never run"),
    ]


def hf_siglip_vision(source: str, target: str) -> list[Rule]:
    """Hugging Face SiglipVisionModel, for a tower with `final_norm`."""
    model = rf"{source}vision_model\."
    patch = rf"{model}embeddings\.patch_embedding\."
    return [
        Rule(rf"{patch}weight", f"{target}patch_embed/proj/kernel", patch_kernel),
        Rule(rf"{patch}bias", f"{target}patch_embed/proj/bias"),
        Rule(
            rf"{model}embeddings\.position_embedding\.weight",
            f"{target}pos_embed",
            lambda x: x[None],
        ),
        *hf_siglip_encoder(model, target),
        *layer_norm(rf"{model}post_layernorm", f"{target}norm"),
        ignore(rf"{model}head\..*", "pooling head, never run"),
    ]


def hf_dinov2(source: str, target: str) -> list[Rule]:
    """Hugging Face Dinov2WithRegistersModel: a tower with `position_on_class`, `final_norm`."""
    layer, ours = rf"{source}encoder\.layer\.(\d+)\.", rf"{target}blocks_\1/"
    embeddings = rf"{source}embeddings\."
    patch = rf"{embeddings}patch_embeddings\.projection\."
    return [
        Rule(rf"{embeddings}cls_token", f"{target}cls_token"),
        Rule(rf"{embeddings}register_tokens", f"{target}reg_token"),
        Rule(rf"{embeddings}position_embeddings", f"{target}pos_embed"),
        ignore(rf"{embeddings}mask_token", "only used in self-supervised training"),
        Rule(rf"{patch}weight", f"{target}patch_embed/proj/kernel", patch_kernel),
        Rule(rf"{patch}bias", f"{target}patch_embed/proj/bias"),
        *hf_attention(rf"{layer}attention\.attention\.", rf"{ours}attn/", "query key value"),
        *linear(rf"{layer}attention\.output\.dense", rf"{ours}attn/proj"),
        *layer_norm(rf"{layer}(norm\d)", rf"{ours}\2"),
        *linear(rf"{layer}mlp\.(fc\d)", rf"{ours}mlp/\2"),
        Rule(rf"{layer}layer_scale(\d)\.lambda1", rf"{ours}ls\2"),
        *layer_norm(rf"{source}layernorm", f"{target}norm"),
    ]


def hf_llama(source: str, target: str, *, lm_head: bool) -> list[Rule]:
    """Hugging Face LlamaForCausalLM."""
    layer, ours = rf"{source}model\.layers\.(\d+)\.", rf"{target}layers_\1/"
    head = (
        linear(rf"{source}lm_head", f"{target}lm_head")
        if lm_head
        else [ignore(rf"{source}lm_head\..*", "vocabulary head, unused by continuous actions")]
    )
    return [
        Rule(rf"{source}model\.embed_tokens\.weight", f"{target}embed_tokens/embedding"),
        *linear(rf"{layer}(self_attn|mlp)\.(\w+_proj)", rf"{ours}\2/\3"),
        *layer_norm(rf"{layer}(input_layernorm|post_attention_layernorm)", rf"{ours}\2"),
        *layer_norm(rf"{source}model\.norm", f"{target}norm"),
        *head,
    ]


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
    layers = [linear(rf"{source}aggregate_proj\.(\d+)\.{i}", f"fc{i // 2 + 1}") for i in (0, 2)]

    def placed(leaf: str):
        def place(match):
            pair, tower = divmod(int(match[1]), 2)
            return f"{target}pair_{pair}_{('dino', 'siglip')[tower]}/{leaf}"

        return place

    return [
        Rule(rule.source, placed(rule.target), rule.layout) for rules in layers for rule in rules
    ]


def projectors(source: str, target: str) -> list[Rule]:
    """OpenVLA's fused projector, and the authors' projector of V->L tokens."""
    cues = rf"{source}(?:fused_featurizer_)?sampler_proj\.(fc\d)"
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
    """The authors' L1 regression head: one MLPResNet per type."""
    return [
        rule
        for kind in ("trans", "rot", "grip")
        for rule in residual_mlp(rf"{source}model_{kind}\.", f"{target}{kind}/")
    ]


def vision_backbone(source: str = MODEL + r"vision_backbone\.") -> list[Rule]:
    """The authors' vision backbone: towers, FiLM, aggregation tokens, Dense-Fuser, ID-Pruner."""
    towers = rf"{source}vision_backbone\."
    return [
        Rule(rf"{source}vision_queries", "pruners/dino/queries", first),
        *timm_vit(rf"{towers}featurizer\.", "dino/"),
        *film(rf"{towers}featurizer\.", "pruners/dino/"),
        *timm_vit(rf"{towers}fused_featurizer\.", "siglip/"),
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
