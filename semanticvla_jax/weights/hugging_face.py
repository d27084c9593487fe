"""Rules for Hugging Face's SigLIP (text and vision), DINOv2 with registers, and Llama."""

from __future__ import annotations

from semanticvla_jax.weights.layouts import Layout, leading, patch_kernel, same, then, transposed
from semanticvla_jax.weights.rules import Rule, ignore
from semanticvla_jax.weights.torch_layers import (
    POOLING_HEAD,
    last_norm,
    layer_norm,
    linear,
    plain_linear,
)


def hf_attention(source: str, target: str, names: str = "q_proj k_proj v_proj") -> list[Rule]:
    """Three separate products <-> our fused one."""
    return [
        rule
        for part, name in enumerate(names.split())
        for rule in plain_linear(rf"{source}{name}", f"{target}qkv", part)
    ]


def hf_siglip_encoder(source: str, target: str) -> list[Rule]:
    """Layers of SigLIP's encoders, vision and text."""
    layer, ours = rf"{source}encoder\.layers\.(\d+)\.", rf"{target}blocks_\1/"
    return [
        *hf_attention(rf"{layer}self_attn\.", rf"{ours}attn/"),
        *linear(rf"{layer}self_attn\.out_proj", rf"{ours}attn/proj"),
        *layer_norm(rf"{layer}layer_norm(\d)", rf"{ours}norm\2"),
        *linear(rf"{layer}mlp\.(fc\d)", rf"{ours}mlp/\2"),
    ]


def hf_siglip_text(source: str, target: str) -> list[Rule]:
    """SiglipTextModel."""
    model = rf"{source}text_model\."
    embeddings = rf"{model}embeddings\."
    return [
        Rule(rf"{embeddings}token_embedding\.weight", f"{target}token_embed/embedding"),
        Rule(rf"{embeddings}position_embedding\.weight", f"{target}pos_embed"),
        ignore(rf"{embeddings}position_ids", "counts from 0"),
        *hf_siglip_encoder(model, target),
        *layer_norm(rf"{model}final_layer_norm", f"{target}norm"),
        ignore(rf"{model}head\..*", POOLING_HEAD),
    ]


def hf_siglip_vision(
    source: str, target: str, *, final_norm: bool = True, positions: Layout = same
) -> list[Rule]:
    """SiglipVisionModel; `positions` acts on the table as [1, N, W]."""
    model = rf"{source}vision_model\."
    embeddings = rf"{model}embeddings\."
    return [
        Rule(
            rf"{embeddings}patch_embedding\.weight",
            f"{target}patch_embed/proj/kernel",
            patch_kernel,
        ),
        Rule(rf"{embeddings}patch_embedding\.bias", f"{target}patch_embed/proj/bias"),
        Rule(
            rf"{embeddings}position_embedding\.weight",
            f"{target}pos_embed",
            then(leading, positions),
        ),
        ignore(rf"{embeddings}position_ids", "counts from 0"),
        *hf_siglip_encoder(model, target),
        *last_norm(rf"{model}post_layernorm", f"{target}norm", owned=final_norm),
        ignore(rf"{model}head\..*", POOLING_HEAD),
    ]


def hf_dinov2(
    source: str, target: str, *, final_norm: bool = True, positions: Layout = same
) -> list[Rule]:
    """Dinov2WithRegistersModel, as it is for a tower with `position_on_class`."""
    layer, ours = rf"{source}encoder\.layer\.(\d+)\.", rf"{target}blocks_\1/"
    embeddings = rf"{source}embeddings\."
    patch = rf"{embeddings}patch_embeddings\.projection\."
    return [
        Rule(rf"{embeddings}cls_token", f"{target}cls_token"),
        Rule(rf"{embeddings}register_tokens", f"{target}reg_token"),
        Rule(rf"{embeddings}position_embeddings", f"{target}pos_embed", positions),
        ignore(rf"{embeddings}mask_token", "only used in self-supervised training"),
        Rule(rf"{patch}weight", f"{target}patch_embed/proj/kernel", patch_kernel),
        Rule(rf"{patch}bias", f"{target}patch_embed/proj/bias"),
        *hf_attention(rf"{layer}attention\.attention\.", rf"{ours}attn/", "query key value"),
        *linear(rf"{layer}attention\.output\.dense", rf"{ours}attn/proj"),
        *layer_norm(rf"{layer}(norm\d)", rf"{ours}\2"),
        *linear(rf"{layer}mlp\.(fc\d)", rf"{ours}mlp/\2"),
        Rule(rf"{layer}layer_scale(\d)\.lambda1", rf"{ours}ls\2"),
        *last_norm(rf"{source}layernorm", f"{target}norm", owned=final_norm),
    ]


def hf_llama(source: str, target: str, *, lm_head: bool, vocabulary: Layout = same) -> list[Rule]:
    """LlamaForCausalLM.

    Args:
      source, target: prefixes.
      lm_head: the decoder owns the vocabulary head.
      vocabulary: what happens to the rows [V, d] of the embeddings and of the vocabulary head.
    """
    layer, ours = rf"{source}model\.layers\.(\d+)\.", rf"{target}layers_\1/"
    return [
        Rule(
            rf"{source}model\.embed_tokens\.weight", f"{target}embed_tokens/embedding", vocabulary
        ),
        *linear(rf"{layer}(self_attn|mlp)\.(\w+_proj)", rf"{ours}\2/\3"),
        *layer_norm(rf"{layer}(input_layernorm|post_attention_layernorm)", rf"{ours}\2"),
        *layer_norm(rf"{source}model\.norm", f"{target}norm"),
        ignore(rf"{source}model\.(?:layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq", "computed"),
        *_vocabulary_head(rf"{source}lm_head", f"{target}lm_head", vocabulary, owned=lm_head),
    ]


def _vocabulary_head(source: str, target: str, vocabulary: Layout, *, owned: bool) -> list[Rule]:
    if not owned:
        return [ignore(rf"{source}\..*", "vocabulary head, unused by continuous actions")]
    kernel = rf"{source}(?:\.base_layer)?\.weight"
    return [
        Rule(kernel, f"{target}/kernel", then(vocabulary, transposed)),
        *linear(source, target),
    ]
