"""Model configurations of cases: sizes from the weights' shapes, everything else from the JSON.

Sizes are read off the parameters that the product's import rules make of the weights, so that no
case's sizes are written here; what shapes cannot tell (heads, top-k, pairs, GELU kind, epsilons,
ids) comes from the case's JSON. Slots that a case does not use get the smallest stand-ins.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from semanticvla_jax.models import build as building
from semanticvla_jax.models import heads
from semanticvla_jax.models.semanticvla import SemanticVLA
from tests.parity.precision import Precision

Shapes = Mapping[str, tuple[int, ...]]

# Hugging Face's names of activations.
ACTIVATIONS = {
    "gelu": "gelu_exact",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
PATCHES = {"name": "patches", "patch": 1}
STAND_INS = {
    "siglip": {
        "name": "vit",
        "image_size": 1,
        "width": 2,
        "depth": 1,
        "heads": 1,
        "mlp_width": 1,
        "patch_embed": PATCHES,
    },
    "dino": {
        "name": "vit",
        "image_size": 1,
        "width": 2,
        "depth": 1,
        "heads": 1,
        "mlp_width": 1,
        "patch_embed": PATCHES,
    },
    "pruners": {"name": "per_tower", "siglip": {"name": "keep_all"}, "dino": {"name": "keep_all"}},
    "fuser": {
        "name": "hierarchical",
        "dense_fuser": {"name": "residual"},
        "sparse_fuser": {"name": "channel_concat"},
    },
    "llm": {"name": "llama", "vocab_size": 4, "width": 2, "depth": 1, "heads": 1, "mlp_width": 1},
    "coupler": {"name": "semantic_action", "chunk": 1, "placeholders": {"name": "zero"}},
    "head": {"name": "residual_mlp", "action_tokens": heads.SINGLE_ARM},
}


def model(slots: Mapping[str, Any], precision: Precision) -> SemanticVLA:
    """The model with these slots (and entries such as `lora`), and stand-ins for the others."""
    return building.build({**STAND_INS, **slots, **precision.slots})


def under(shapes: Shapes, prefix: str) -> dict[str, tuple[int, ...]]:
    """Shapes of the names with a prefix, without it."""
    return {n.removeprefix(prefix): s for n, s in shapes.items() if n.startswith(prefix)}


def count(shapes: Shapes, stem: str) -> int:
    """Number of parts `<stem>_0/`, `<stem>_1/` ..."""
    found = (re.match(rf"{stem}_(\d+)/", name) for name in shapes)
    return len({match[1] for match in found if match})


def tower(shapes: Shapes, image: int, attention_heads: int, **changes) -> dict[str, Any]:
    """Slot of a vision tower of these shapes, for square images of `image` pixels."""
    rows, width = shapes["patch_embed/proj/kernel"]
    patch = math.isqrt(rows // 3)
    slot = {
        "name": "vit",
        "image_size": image,
        "width": width,
        "depth": count(shapes, "blocks"),
        "heads": attention_heads,
        "mlp_width": shapes["blocks_0/mlp/fc1/kernel"][1],
        "patch_embed": {"name": "patches", "patch": patch},
        "class_token": "cls_token" in shapes,
        "registers": shapes.get("reg_token", (1, 0, width))[1],
        "position_on_class": shapes["pos_embed"][-2] > (image // patch) ** 2,
        "layer_scale": 1.0 if "blocks_0/ls1" in shapes else None,
        "final_norm": "norm/scale" in shapes,
    }
    return slot | changes


def text_encoder(shapes: Shapes, attention_heads: int, config: Mapping) -> dict[str, Any]:
    """Slot of a SigLIP text tower; `config` is Hugging Face's, or part of it."""
    vocabulary, width = shapes["token_embed/embedding"]
    return {
        "name": "siglip_text",
        "vocab_size": vocabulary,
        "length": shapes["pos_embed"][0],
        "width": width,
        "depth": count(shapes, "blocks"),
        "heads": attention_heads,
        "mlp_width": shapes["blocks_0/mlp/fc1/kernel"][1],
        **transformer(config, "layer_norm_eps", "epsilon"),
    }


def llama(shapes: Shapes, attention_heads: int, config: Mapping) -> dict[str, Any]:
    """Slot of a decoder; `config` is Hugging Face's, or part of it."""
    vocabulary, width = shapes["embed_tokens/embedding"]
    slot = {
        "name": "llama",
        "vocab_size": vocabulary,
        "width": width,
        "depth": count(shapes, "layers"),
        "heads": attention_heads,
        "mlp_width": shapes["layers_0/mlp/gate_proj/kernel"][1],
        "lm_head": any(name.startswith("lm_head/") for name in shapes),
        **transformer(config, "rms_norm_eps", "rms_epsilon"),
    }
    return slot | ({"rope_theta": config["rope_theta"]} if "rope_theta" in config else {})


def transformer(config: Mapping, epsilon: str, ours: str) -> dict[str, Any]:
    """Activation and norm epsilon, as far as a Hugging Face configuration states them."""
    stated = {}
    if "hidden_act" in config:
        stated["activation"] = ACTIVATIONS[config["hidden_act"]]
    if epsilon in config:
        stated[ours] = config[epsilon]
    return stated


def action_tokens(tokens: int, dims: int) -> heads.ActionTokens:
    """The layout of a step with so many action tokens and action dimensions."""
    for layout in (heads.SINGLE_ARM, heads.BIMANUAL):
        if (len(layout), sum(len(dims) for _, dims in layout)) == (tokens, dims):
            return layout
    raise ValueError(f"no layout of {tokens} action tokens for {dims} action dimensions")


def vision(config: Mapping, shapes: Shapes, image: int) -> dict[str, Any]:
    """Slots siglip, dino, pruners and fuser of a case with a whole vision backbone."""
    # Features are the last block's where the towers exchange, the second to last one's otherwise.
    layer = {} if config.get("cross", True) else {"feature_layer": -2}
    towers = {
        name: tower(under(shapes, f"{name}/"), image, config[name]["heads"], **layer)
        for name in ("siglip", "dino")
    }
    siglip, dino = (config.get(f"{n}featurizer_cfg", {}) for n in ("fused_", ""))
    pruners = {
        "name": "per_tower",
        "pooling": {"name": "mean_with_pads"},
        "siglip": pruner(siglip, shapes),
        "dino": pruner(dino, shapes),
    }
    words = under(shapes, "pruners/text_encoder/")
    if words:
        pruners["text_encoder"] = text_encoder(
            words, config["text"]["heads"], config.get("text_config", {})
        )
        pruners["pad_id"] = config.get("siglip_pad_token_id", config.get("pad_token_id", 1))
    return {**towers, "pruners": pruners, "fuser": fuser(shapes, config.get("pairs", ()))}


def fuser(shapes: Shapes, pairs=()) -> dict[str, Any]:
    """Slot of the fuser; the projector's first width is some multiple of its input's."""
    slot = STAND_INS["fuser"] | {"dense_fuser": {"name": "residual", "pairs": pairs}}
    if "fuser/sparse_fuser/projector/fc1/kernel" in shapes:
        inputs, hidden = shapes["fuser/sparse_fuser/projector/fc1/kernel"]
        slot["sparse_fuser"] = {"name": "channel_concat", "hidden_ratio": hidden // inputs}
    return slot


def pruner(config: Mapping, shapes: Shapes) -> dict[str, Any]:
    """Slot of the pruner that the authors' settings of one tower describe."""
    if config.get("use_mm_sampler"):
        return {
            "name": "instruction_driven",
            "anchors": max(config["vision_topk"], 0),
            "cues": max(config["text_topk"], 0),
        }
    queries, film = max(config.get("num_vision_queries", 0), 0), config.get("use_film", False)
    if queries:
        return {"name": "spatial_aggregation", "queries": queries, "film": film}
    return {"name": "modulated_keep_all" if film else "keep_all"}


def decoder(config: Mapping, shapes: Shapes, chunk: int, action_dims: int) -> dict[str, Any]:
    """Slots llm, coupler and head of a whole model."""
    llm = config.get("llama_full_config") or config["llm"]
    ids = {
        ours: llm[theirs]
        for ours, theirs in (("bos_id", "bos_token_id"), ("stop_id", "eos_token_id"))
        if theirs in llm
    }
    return {
        "llm": llama(under(shapes, "llm/"), llm["num_attention_heads"], llm),
        "coupler": {
            "name": "semantic_action",
            "placeholders": {"name": "zero"},
            "mask": {"name": "hybrid"},
            "first_row": {"name": "shifted_left"},
            "chunk": chunk,
            **ids,
        },
        "head": {
            "name": "residual_mlp",
            "action_tokens": action_tokens(config["num_action_tokens"], action_dims),
        },
    }
