"""Complete model configurations: plain nested dicts for build.build, to be edited freely."""

from __future__ import annotations

import copy
from typing import NamedTuple

from semanticvla_jax.models import heads, vit


def _small_tower(**changes) -> dict:
    """A tower that learns from scratch on a CPU: ReLU, pre-norm, small residual projections."""
    tower = {
        "name": "vit",
        "image_size": 64,
        "width": 96,
        "depth": 3,
        "heads": 2,
        "mlp_width": 192,
        "activation": "relu",
        "patch_embed": {
            "name": "convolutional_stem",
            "stages": ((4, 32, 48), (2, 64, 64)),
            "last_merge": 2,
        },
        "kernel_init": "lecun",
        "residual_init": "normal_0.02",
        "token_std": 0.1,
    }
    return {**tower, **changes}


def tiny(*, cameras: int = 2, chunk: int = 8, vocab_size: int = 512, text_length: int = 32) -> dict:
    """About 1.6 M parameters, 64 px images, for training from scratch on two CPU cores.

    16 patches per image, of which the instruction keeps 8, beside 4 cues and 8 aggregation tokens.
    The wide overlapping patches matter: finer ones learn far slower from so little data.

    Args:
      cameras: images per observation.
      chunk: actions per prediction.
      vocab_size: of the shipped tokenizer, used on both language sides.
      text_length: positions of the text tower.
    """
    return {
        "siglip": _small_tower(cameras=cameras),
        "dino": _small_tower(
            cameras=cameras,
            class_token=True,
            mean=vit.IMAGENET[0],
            std=vit.IMAGENET[1],
        ),
        "pruners": {
            "name": "per_tower",
            "text_encoder": {
                "name": "siglip_text",
                "vocab_size": vocab_size,
                "length": text_length,
                "width": 64,
                "depth": 1,
                "heads": 2,
                "mlp_width": 128,
                "activation": "relu",
                "kernel_init": "lecun",
                "residual_init": "normal_0.02",
            },
            "siglip": {
                "name": "instruction_driven",
                "anchors": 8,
                "cues": 4,
                "kernel_init": "lecun",
                "activation": "relu",
            },
            "dino": {
                "name": "spatial_aggregation",
                "queries": 8,
                "query_init": "normal_0.1",
                "kernel_init": "normal_0.02",
            },
        },
        "fuser": {
            "name": "hierarchical",
            "dense_fuser": {
                "name": "residual",
                "pairs": ((0, 0), (1, 1)),
                "activation": "relu",
                "kernel_init": "lecun",
                "residual_init": "normal_0.02",
            },
            "sparse_fuser": {
                "name": "channel_concat",
                "hidden_ratio": 1,
                "activation": "relu",
                "kernel_init": "lecun",
                "cue_init": "lecun",
            },
        },
        "llm": {
            "name": "llama",
            "vocab_size": vocab_size,
            "width": 128,
            "depth": 2,
            "heads": 2,
            "mlp_width": 256,
            "activation": "relu",
            "kernel_init": "lecun",
            "embed_std": 0.1,
        },
        "coupler": {
            "name": "semantic_action",
            "chunk": chunk,
            "activation": "relu",
            "kernel_init": "lecun",
            "placeholders": {"name": "proprioceptive"},
            "mask": {"name": "prefix_bidirectional"},
            "first_row": {"name": "aligned"},
        },
        "head": {
            "name": "per_token",
            "action_tokens": heads.SINGLE_ARM,
            "hidden": (128,),
            "kernel_init": "lecun",
        },
    }


class Size(NamedTuple):
    """Widths, depths, heads and MLP widths of the four transformers, and where towers exchange.

    pairs: [DINOv2 block, SigLIP block].
    """

    dino: tuple[int, int, int, int]
    siglip: tuple[int, int, int, int]
    text: tuple[int, int, int, int]
    llm: tuple[int, int, int, int]
    pairs: tuple[tuple[int, int], ...]


SIZES = {
    "small": Size(  # about 118 M parameters
        dino=(384, 12, 6, 1536),
        siglip=(384, 12, 6, 1536),
        text=(384, 4, 6, 1536),
        llm=(512, 6, 8, 1408),
        pairs=((1, 1), (5, 5), (10, 10)),
    ),
    "base": Size(  # about 545 M parameters
        dino=(768, 12, 12, 3072),
        siglip=(768, 12, 12, 3072),
        text=(768, 12, 12, 3072),
        llm=(1024, 12, 16, 2816),
        pairs=((1, 1), (5, 5), (10, 10)),
    ),
    "7b": Size(  # DINOv2-L, SigLIP so400m twice, Llama-2-7B
        dino=(1024, 24, 16, 4096),
        siglip=(1152, 27, 16, 4304),
        text=(1152, 27, 16, 4304),
        llm=(4096, 32, 32, 11008),
        pairs=((2, 3), (11, 13), (20, 23)),
    ),
}


def _transformer(width: int, depth: int, heads_: int, mlp_width: int) -> dict:
    return {"width": width, "depth": depth, "heads": heads_, "mlp_width": mlp_width}


def released(size: Size) -> dict:
    """The released LIBERO model at some size: 2 cameras, K = 8, 3 action tokens per step.

    Computes in bfloat16; everything is stored in float32.
    """
    tower = {
        "name": "vit",
        "image_size": 224,
        "patch_embed": {"name": "patches", "patch": 14},
        "scan": True,
    }
    return {
        "siglip": {**tower, **_transformer(*size.siglip)},
        "dino": {
            **tower,
            **_transformer(*size.dino),
            "class_token": True,
            "registers": 4,
            "layer_scale": 1e-5,
            "mean": vit.IMAGENET_BFLOAT16[0],
            "std": vit.IMAGENET_BFLOAT16[1],
        },
        "pruners": {
            "name": "per_tower",
            "pooling": {"name": "mean_without_pads"},
            "text_encoder": {
                "name": "siglip_text",
                "vocab_size": 32000,
                "length": 64,
                **_transformer(*size.text),
                "scan": True,
            },
            "siglip": {"name": "instruction_driven", "anchors": 32, "cues": 5},
            "dino": {"name": "spatial_aggregation", "queries": 32},
        },
        "fuser": {
            "name": "hierarchical",
            "dense_fuser": {"name": "residual", "pairs": size.pairs},
            "sparse_fuser": {"name": "channel_concat"},
        },
        "llm": {
            "name": "llama",
            "vocab_size": 32064,
            **_transformer(*size.llm),
            "scan": True,
            "remat": True,
        },
        "coupler": {
            "name": "semantic_action",
            "chunk": 8,
            "placeholders": {"name": "zero"},
            "mask": {"name": "hybrid"},
            "first_row": {"name": "shifted_left"},
        },
        "head": {"name": "residual_mlp", "action_tokens": heads.SINGLE_ARM},
        "dtype": "bfloat16",
    }


def adapted(config: dict, rank: int, alpha: float) -> dict:
    """With adapters, and the parts they adapt, which stay as they are, stored in bfloat16."""
    config = copy.deepcopy(config)
    for frozen in (
        config["siglip"],
        config["dino"],
        config["pruners"]["text_encoder"],
        config["llm"],
    ):
        frozen |= {"param_dtype": "bfloat16", "remat": True}
    config["llm"]["lm_head"] = True
    config["lora"] = {"rank": rank, "alpha": alpha}
    return config


def for_aloha(config: dict) -> dict:
    """Two arms: K = 25, 6 action tokens per step (3 cameras)."""
    config = copy.deepcopy(config)
    config["coupler"]["chunk"] = 25
    config["head"]["action_tokens"] = heads.BIMANUAL
    return config


def semanticvla_7b_libero() -> dict:
    """The released LIBERO model, LoRA rank 64."""
    return adapted(released(SIZES["7b"]), rank=64, alpha=128)


def semanticvla_7b_aloha() -> dict:
    """The released ALOHA model, LoRA rank 32."""
    return for_aloha(adapted(released(SIZES["7b"]), rank=32, alpha=64))
