"""Rules for timm's vision transformers: DINOv2 with registers, SigLIP."""

from __future__ import annotations

from semanticvla_jax.weights.layouts import Layout, patch_kernel, same
from semanticvla_jax.weights.rules import Rule, ignore
from semanticvla_jax.weights.torch_layers import POOLING_HEAD, last_norm, layer_norm, linear


def timm_vit(
    source: str,
    target: str,
    *,
    final_norm: bool = False,
    positions: Layout = same,
    wrapper: str = r"(?:block\.)?",
) -> list[Rule]:
    """timm vision transformer, as published or inside OpenVLA.

    Args:
      source, target: prefixes.
      final_norm: the tower owns the last LayerNorm.
      positions: what happens to the position table.
      wrapper: what stands between a block's number and its layers.
    """
    block, ours = rf"{source}blocks\.(\d+)\.{wrapper}", rf"{target}blocks_\1/"
    patch = rf"{source}patch_embed\.proj\."
    return [
        Rule(rf"{source}(cls_token|reg_token)", rf"{target}\1"),
        Rule(rf"{source}pos_embed", f"{target}pos_embed", positions),
        Rule(rf"{patch}weight", f"{target}patch_embed/proj/kernel", patch_kernel),
        Rule(rf"{patch}bias", f"{target}patch_embed/proj/bias"),
        *layer_norm(rf"{block}(norm\d)", rf"{ours}\2"),
        *linear(rf"{block}attn\.(qkv|proj)", rf"{ours}attn/\2"),
        *linear(rf"{block}mlp\.(fc\d)", rf"{ours}mlp/\2"),
        Rule(rf"{block}(ls\d)\.(?:scale_factor|gamma)", rf"{ours}\2"),
        *last_norm(rf"{source}norm", f"{target}norm", owned=final_norm),
        ignore(rf"{source}attn_pool\..*", POOLING_HEAD),
    ]
