"""Complete model configurations: plain nested dicts for build.build, to be edited freely."""

from __future__ import annotations

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


def semanticvla_7b_libero() -> dict:
    """The released LIBERO model: 2 cameras, K = 8, 3 action tokens per step, LoRA rank 64.

    Computes in bfloat16; pretrained parts are stored in bfloat16, everything trained in float32.
    """
    return {
        "siglip": {
            "name": "vit",
            "param_dtype": "bfloat16",
            "image_size": 224,
            "width": 1152,
            "depth": 27,
            "heads": 16,
            "mlp_width": 4304,
            "patch_embed": {"name": "patches", "patch": 14},
        },
        "dino": {
            "name": "vit",
            "param_dtype": "bfloat16",
            "image_size": 224,
            "width": 1024,
            "depth": 24,
            "heads": 16,
            "mlp_width": 4096,
            "class_token": True,
            "registers": 4,
            "layer_scale": 1e-5,
            "mean": vit.IMAGENET_BFLOAT16[0],
            "std": vit.IMAGENET_BFLOAT16[1],
            "patch_embed": {"name": "patches", "patch": 14},
        },
        "pruners": {
            "name": "per_tower",
            "text_encoder": {
                "name": "siglip_text",
                "param_dtype": "bfloat16",
                "vocab_size": 32000,
                "length": 64,
                "width": 1152,
                "depth": 27,
                "heads": 16,
                "mlp_width": 4304,
            },
            "pooling": {"name": "mean_without_pads"},
            "siglip": {
                "name": "instruction_driven",
                "anchors": 32,
                "cues": 5,
            },
            "dino": {"name": "spatial_aggregation", "queries": 32},
        },
        "fuser": {
            "name": "hierarchical",
            "dense_fuser": {"name": "residual", "pairs": ((2, 3), (11, 13), (20, 23))},
            "sparse_fuser": {"name": "channel_concat"},
        },
        "llm": {
            "name": "llama",
            "param_dtype": "bfloat16",
            "vocab_size": 32064,
            "width": 4096,
            "depth": 32,
            "heads": 32,
            "mlp_width": 11008,
            "scan": True,
            "remat": True,
            "lm_head": True,
        },
        "coupler": {
            "name": "semantic_action",
            "chunk": 8,
            "placeholders": {"name": "zero"},
            "mask": {"name": "hybrid"},
            "first_row": {"name": "shifted_left"},
        },
        "head": {"name": "residual_mlp", "action_tokens": heads.SINGLE_ARM},
        "lora": {"rank": 64, "alpha": 128},
        "dtype": "bfloat16",
    }


def semanticvla_7b_aloha() -> dict:
    """The released ALOHA model: 3 cameras, K = 25, 6 action tokens per step, LoRA rank 32."""
    config = semanticvla_7b_libero()
    config["coupler"]["chunk"] = 25
    config["head"]["action_tokens"] = heads.BIMANUAL
    config["lora"] = {"rank": 32, "alpha": 64}
    return config
