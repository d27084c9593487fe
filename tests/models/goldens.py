"""Reference cases: reading them, and the model configuration that their JSON describes."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from semanticvla_jax.models import heads
from semanticvla_jax.weights import rules


class Golden:
    """One case: `config` (its JSON), and arrays by kind: weights, inputs, outputs."""

    def __init__(self, directory: Path, name: str):
        self.name = name
        self.config = json.loads((directory / f"{name}.json").read_text())
        arrays = np.load(directory / f"{name}.npz")
        kinds = {"w": {}, "i": {}, "o": {}}
        for key in arrays.files:
            kind, _, rest = key.partition("/")
            kinds[kind][rest] = arrays[key]
        self.weights, self.inputs, self.outputs = kinds["w"], kinds["i"], kinds["o"]

    def pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """i/pixel_values [B, 6 I, H, W] -> (DINOv2, SigLIP) pixels, each [B, I, H, W, 3]."""
        x = self.inputs["pixel_values"]
        x = x.reshape(x.shape[0], -1, 2, 3, *x.shape[2:]).transpose(2, 0, 1, 4, 5, 3)
        return x[0], x[1]


def images_last(x: np.ndarray) -> np.ndarray:
    """[B, 3, H, W] -> [B, H, W, 3]."""
    return x.transpose(0, 2, 3, 1)


def load(weights, rule_list, module, *args, fresh=(), method=None, **kwargs) -> dict:
    """Foreign weights -> parameters of `module`; shapes come from an abstract initialisation."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *args, method=method, **kwargs))[
        "params"
    ]
    params, _ = rules.convert(weights, rule_list, shapes, fresh=fresh)
    return jax.tree.map(jnp.asarray, params)


def errors(found: dict, expected: dict) -> dict[str, float]:
    """Largest absolute difference of each quantity; exact for integers and booleans."""
    out = {}
    for name, value in found.items():
        reference = expected[name]
        value = np.asarray(value)
        assert value.shape == reference.shape, (name, value.shape, reference.shape)
        out[name] = float(np.abs(value.astype(np.float64) - reference.astype(np.float64)).max())
    return out


def check(name: str, found: dict, expected: dict, tolerance: float) -> None:
    """Asserts every quantity; prints the largest error for the report."""
    differences = errors(found, expected)
    worst = max(differences, key=differences.get)
    print(f"{name}: {len(differences)} quantities, worst {worst} {differences[worst]:.1e}")
    too_large = {k: v for k, v in differences.items() if not v <= tolerance}
    assert not too_large, f"{name}: beyond {tolerance}: {too_large}"


def tower(config: dict, image: int, **changes) -> dict:
    """Slot of a timm tower described by {patch, dim, depth, heads, reg?, mlp_ratio?}."""
    dino = "reg" in config
    slot = {
        "name": "vit",
        "image_size": image,
        "width": config["dim"],
        "depth": config["depth"],
        "heads": config["heads"],
        "mlp_width": int(config["dim"] * config.get("mlp_ratio", 4)),
        "patch_embed": {"name": "patches", "patch": config["patch"]},
    }
    if dino:
        slot |= {"class_token": True, "registers": config["reg"], "layer_scale": 1e-5}
    return slot | changes


def text_encoder(config: dict) -> dict:
    """Slot of the SigLIP text tower described by {hidden, layers, heads, inter, vocab, M}."""
    return {
        "name": "siglip_text",
        "vocab_size": config["vocab"],
        "length": config["M"],
        "width": config["hidden"],
        "depth": config["layers"],
        "heads": config["heads"],
        "mlp_width": config["inter"],
    }


def model(config: dict, **changes) -> dict:
    """Model configuration of a backbone or whole-model case; missing parts get stand-ins."""
    llm = config.get("llm", {"hidden_size": 8, "num_attention_heads": 1})
    sampler = config["fused_featurizer_cfg"]
    crossed = {} if config.get("cross", True) else {"feature_layer": -2}
    tokens = heads.BIMANUAL if config.get("num_action_tokens", 3) == 6 else heads.SINGLE_ARM
    built = {
        "siglip": tower(config["siglip"], config["img"], **crossed),
        "dino": tower(config["dino"], config["img"], **crossed),
        "pruners": {
            "name": "per_tower",
            "pooling": {"name": "mean_with_pads"},
            "text_encoder": text_encoder(config["text"]),
            "siglip": {
                "name": "instruction_driven",
                "anchors": sampler["vision_topk"],
                "cues": sampler["text_topk"],
            },
            "dino": {
                "name": "spatial_aggregation",
                "queries": config["featurizer_cfg"]["num_vision_queries"],
                "film": config["featurizer_cfg"]["use_film"],
            },
        },
        "fuser": {
            "name": "hierarchical",
            "dense_fuser": {"name": "residual", "pairs": config.get("pairs", ())},
            "sparse_fuser": {"name": "channel_concat"},
        },
        "llm": {
            "name": "llama",
            "vocab_size": config.get("llama_full_config", {}).get("vocab_size", 32064),
            "width": llm["hidden_size"],
            "depth": llm.get("num_hidden_layers", 1),
            "heads": llm["num_attention_heads"],
            "mlp_width": llm.get("intermediate_size", 8),
        },
        "coupler": {
            "name": "semantic_action",
            "chunk": config.get("chunk", 8),
            "placeholders": {"name": "zero"},
        },
        "head": {"name": "residual_mlp", "action_tokens": tokens},
    }
    return built | changes
