"""Rules for big_vision's SigLIP checkpoints (`.npz`, keys joined by `/`), image and text towers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from semanticvla_jax.weights.derived import part
from semanticvla_jax.weights.layouts import (
    Layout,
    first,
    flat_convolution,
    joined_heads,
    leading_heads,
    same,
)
from semanticvla_jax.weights.rules import Rule, ignore
from semanticvla_jax.weights.torch_layers import NEVER_RUN, POOLING_HEAD

ROOT = r"(?:params/)?"
STACKED = r"(.*/encoderblock)/(.*)"


def unstacked(source: Mapping[str, Any]) -> dict[str, Any]:
    """Layers stacked on the first axis under `encoderblock/` -> `encoderblock_0/`, `..._1/` etc."""
    named = {}
    for name, array in source.items():
        stacked = re.fullmatch(STACKED, name)
        if stacked is None:
            named[name] = array
            continue
        for i in range(array.shape[0]):
            named[f"{stacked[1]}_{i}/{stacked[2]}"] = part(array, i)
    return named


def head_count(source: Mapping[str, Any], tower: str) -> int | None:
    """Attention heads of `img` or `txt`: shapes show them, [W, heads, width] of a query kernel."""
    query = rf"{ROOT}{tower}/\w+/encoderblock_0/\w+/query/kernel"
    kernels = (array for name, array in source.items() if re.fullmatch(query, name))
    return next((kernel.shape[-2] for kernel in kernels), None)


def _norm(source: str, target: str) -> list[Rule]:
    return [Rule(f"{source}/scale", f"{target}/scale"), Rule(f"{source}/bias", f"{target}/bias")]


def _dense(source: str, target: str) -> list[Rule]:
    return [
        Rule(f"{source}/kernel", f"{target}/kernel"),
        Rule(f"{source}/bias", f"{target}/bias"),
    ]


def _attention(source: str, target: str) -> list[Rule]:
    rules = [
        Rule(f"{source}/out/kernel", f"{target}proj/kernel", leading_heads),
        Rule(f"{source}/out/bias", f"{target}proj/bias"),
    ]
    for i, name in enumerate(("query", "key", "value")):
        rules += [
            Rule(f"{source}/{name}/kernel", f"{target}qkv/kernel", joined_heads, i),
            Rule(f"{source}/{name}/bias", f"{target}qkv/bias", joined_heads, i),
        ]
    return rules


def _blocks(source: str, target: str) -> list[Rule]:
    block, ours = rf"{source}encoderblock_(\d+)/", rf"{target}blocks_\1/"
    return [
        *_norm(f"{block}LayerNorm_0", f"{ours}norm1"),
        *_attention(f"{block}MultiHeadDotProductAttention_0", f"{ours}attn/"),
        *_norm(f"{block}LayerNorm_1", f"{ours}norm2"),
        *_dense(f"{block}MlpBlock_0/Dense_0", f"{ours}mlp/fc1"),
        *_dense(f"{block}MlpBlock_0/Dense_1", f"{ours}mlp/fc2"),
    ]


def image_tower(target: str, *, final_norm: bool = False, positions: Layout = same) -> list[Rule]:
    """The image tower `img`; `positions` acts on its table [1, N, W]."""
    source = f"{ROOT}img/"
    norm = f"{source}Transformer/encoder_norm"
    return [
        Rule(f"{source}embedding/kernel", f"{target}patch_embed/proj/kernel", flat_convolution),
        Rule(f"{source}embedding/bias", f"{target}patch_embed/proj/bias"),
        Rule(f"{source}pos_embedding", f"{target}pos_embed", positions),
        *_blocks(f"{source}Transformer/", target),
        *(_norm(norm, f"{target}norm") if final_norm else [ignore(f"{norm}/.*", NEVER_RUN)]),
        ignore(f"{source}MAPHead_0/.*", POOLING_HEAD),
        ignore(f"{source}head/.*", "projection to another model's width"),
    ]


def text_tower(target: str) -> list[Rule]:
    """The text tower `txt`."""
    source = f"{ROOT}txt/"
    return [
        Rule(f"{source}Embed_0/embedding", f"{target}token_embed/embedding"),
        Rule(f"{source}pos_embedding", f"{target}pos_embed", first),
        *_blocks(f"{source}Encoder_0/", target),
        *_norm(f"{source}Encoder_0/encoder_norm", f"{target}norm"),
        ignore(f"{source}head/.*", POOLING_HEAD),
    ]
