"""Transformers and MLPs of given sizes, from timm, transformers and torch."""

from __future__ import annotations

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from transformers import LlamaConfig, LlamaModel, SiglipTextConfig, SiglipTextModel


def tower(sizes: dict) -> VisionTransformer:
    """A timm vision transformer without head, as `sizes` of a tower says."""
    return VisionTransformer(
        img_size=sizes["image_size"],
        patch_size=sizes["patch"],
        embed_dim=sizes["width"],
        depth=sizes["depth"],
        num_heads=sizes["heads"],
        mlp_ratio=sizes["mlp_width"] / sizes["width"],
        class_token=sizes["class_token"],
        reg_tokens=sizes["registers"],
        init_values=1e-5 if sizes["class_token"] else None,
        no_embed_class=True,
        num_classes=0,
        global_pool="",
    )


def text_tower(sizes: dict) -> SiglipTextModel:
    positions = {"max_position_embeddings": sizes["length"]}
    return SiglipTextModel(SiglipTextConfig(**_transformer(sizes), **positions))


def llama(sizes: dict) -> LlamaModel:
    return LlamaModel(LlamaConfig(**_transformer(sizes)))


def _transformer(sizes: dict) -> dict:
    return dict(
        vocab_size=sizes["vocab_size"],
        hidden_size=sizes["width"],
        num_hidden_layers=sizes["depth"],
        num_attention_heads=sizes["heads"],
        intermediate_size=sizes["mlp_width"],
    )


def mlp(*widths: int) -> nn.Sequential:
    layers = []
    for before, after in zip(widths[:-1], widths[1:], strict=True):
        layers += [nn.Linear(before, after), nn.GELU()]
    return nn.Sequential(*layers[:-1])


class Head(nn.Module):
    """Residual MLP over one step's concatenated action tokens."""

    def __init__(self, inputs: int, width: int, outputs: int):
        super().__init__()
        self.before = nn.Sequential(nn.LayerNorm(inputs), nn.Linear(inputs, width), nn.ReLU())
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU()) for _ in range(2)
        )
        self.after = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.before(x)
        for block in self.blocks:
            x = x + block(x)
        return self.after(x)
