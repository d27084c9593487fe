"""A whole-model case that shares no size, id or constant with the public ones.

Written with random weights of a released preset at other sizes, exported under the authors' names:
whatever a check would take from the public cases instead of the case's own JSON and shapes fails.
"""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from semanticvla_jax.models import presets
from semanticvla_jax.models.build import build
from semanticvla_jax.weights import authors
from semanticvla_jax.weights.export import export
from tests.models.smallest import jit
from tests.parity import registry
from tests.parity.whole_model import EMPTY_ID

NAME = "e_other_sizes"
BOS, STOP, PAD, TEXT_PAD = 5, 6, 7, 2
BATCH, IMAGE, CHUNK, TOKENS, DIMS, STATE = 3, 28, 3, 3, 7, 9
PROMPTS, TEXTS = (4, 7, 5), (6, 2, 4)
PAIRS = ((1, 0),)
TEXT = {"layer_norm_eps": 1e-5, "hidden_act": "gelu"}
LLAMA = {
    "num_attention_heads": 2,
    "rms_norm_eps": 1e-4,
    "rope_theta": 300.0,
    "hidden_act": "relu",
    "bos_token_id": BOS,
    "eos_token_id": STOP,
    "pad_token_id": PAD,
}


def configuration() -> dict:
    """The released parts at sizes of their own; DINOv2 without registers, as older ones are."""
    sizes = presets.Size(
        siglip=(12, 2, 3, 20),
        dino=(8, 2, 2, 40),
        text=(10, 1, 5, 14),
        llm=(16, 1, 2, 24),
        pairs=PAIRS,
    )
    config = presets.released(sizes)
    for tower in ("siglip", "dino"):
        config[tower] |= {"image_size": IMAGE, "patch_embed": {"name": "patches", "patch": 7}}
    config["dino"] |= {"registers": 0, "position_on_class": True}
    text = {"vocab_size": 30, "length": 6, "epsilon": 1e-5, "activation": "gelu_exact"}
    config["pruners"]["text_encoder"] |= text
    config["pruners"] |= {"pooling": {"name": "mean_with_pads"}, "pad_id": TEXT_PAD}
    config["pruners"]["siglip"] |= {"anchors": 3, "cues": 2}
    config["pruners"]["dino"]["queries"] = 3
    config["llm"] |= {"vocab_size": EMPTY_ID + 4, "scan": False, "remat": False}
    config["llm"] |= {"rms_epsilon": 1e-4, "rope_theta": 300.0, "activation": "relu"}
    config["coupler"] |= {"chunk": CHUNK, "bos_id": BOS, "stop_id": STOP}
    return config | {"dtype": "float32"}


def stated() -> dict:
    """The same as a case's JSON states it."""
    low, high = np.linspace(-2, -1, 9), np.linspace(0.5, 3, 9)

    def statistics(dims: int, mask: list[bool]) -> dict:
        ends = {"q01": low, "q99": high, "min": low - 1, "max": high + 1, "mean": low, "std": high}
        return {name: list(values[:dims]) for name, values in ends.items()} | {"mask": mask}

    return {
        "dino": {"heads": 2},
        "siglip": {"heads": 3},
        "text": {"heads": 5},
        "text_config": TEXT,
        "siglip_pad_token_id": TEXT_PAD,
        "featurizer_cfg": {"use_film": True, "num_vision_queries": 3},
        "fused_featurizer_cfg": {"use_mm_sampler": True, "vision_topk": 3, "text_topk": 2},
        "pairs": PAIRS,
        "num_action_tokens": TOKENS,
        "llama_full_config": LLAMA,
        "normalization": "NormalizationType.BOUNDS",
        "unnorm_key": "here",
        "norm_stats": {
            "here": {
                "action": statistics(DIMS, [True, False, *[True] * 5]),
                "proprio": statistics(STATE, [True] * STATE),
            }
        },
    }


def inputs(config: dict) -> dict[str, np.ndarray]:
    """Random inputs in the authors' layout: [BOS, prompt, action ids, stop, pads]."""
    rng = np.random.default_rng(0)
    behind = CHUNK * TOKENS + 1
    size = 1 + max(PROMPTS) + behind
    ids = np.full((BATCH, size), PAD)
    for row, length in zip(ids, PROMPTS, strict=True):
        row[: 1 + length] = BOS, *rng.integers(10, 60, length - 1), EMPTY_ID
        row[1 + length : length + behind] = 99
        row[length + behind] = STOP
    text = rng.integers(3, 30, (BATCH, 6))
    text[np.arange(6)[None] >= np.array(TEXTS)[:, None]] = TEXT_PAD
    state = rng.uniform(-2, 3, (BATCH, STATE))
    bounds = config["norm_stats"]["here"]["proprio"]
    low, high = np.array(bounds["min"]), np.array(bounds["max"])
    return {
        "pixel_values": rng.normal(size=(BATCH, 6, IMAGE, IMAGE)).astype(np.float32),
        "input_ids": ids,
        "attention_mask": np.arange(size)[None] < np.array(PROMPTS)[:, None] + 1 + behind,
        "instruction_ids": text,
        "proprio_raw": state,
        "proprio_normalized": np.clip(2 * (state - low) / (high - low + 1e-8) - 1, -1, 1),
        "ground_truth_actions": rng.normal(size=(BATCH, CHUNK, DIMS)).astype(np.float32),
        "predict_input_ids": ids[:1, : PROMPTS[0]],
    }


def batch(i: dict[str, np.ndarray], prompts: np.ndarray, rows: slice) -> tuple:
    """Arguments of `from_pixels`."""
    pixels = i["pixel_values"][rows].transpose(0, 2, 3, 1)[:, None]
    lengths = np.array(PROMPTS)[rows]
    return (
        pixels[..., :3],
        pixels[..., 3:],
        {
            "state": i["proprio_normalized"][rows].astype(np.float32),
            "prompt_ids": prompts,
            "prompt_mask": np.arange(prompts.shape[1])[None] < lengths[:, None],
            "text_ids": i["instruction_ids"][rows],
        },
    )


def write_case(folder: Path) -> None:
    config = stated()
    i = inputs(config)
    model = build(configuration())
    prompts = np.full((BATCH, max(PROMPTS)), PAD)
    for row, source, length in zip(prompts, i["input_ids"], PROMPTS, strict=True):
        row[:length] = source[1 : 1 + length]
    train = batch(i, prompts, slice(None))
    single = batch(i, prompts[:1, : PROMPTS[0]], slice(1))
    params = random_parameters(model, train)

    def loss(params):
        actions, details = model.apply({"params": params}, *train, method="from_pixels")
        return jnp.abs(actions - i["ground_truth_actions"]).mean(), (actions, details)

    (value, (actions, details)), grads = jit(jax.value_and_grad(loss, has_aux=True))(params)
    alone, _ = jit(lambda p: model.apply({"params": p}, *single, method="from_pixels"))(params)
    outputs = {
        "train/predicted_actions": actions,
        "train/l1_loss": value,
        "train/attend": details["sequence"].mask[:, 0],
        "train/vision_tokens": details["image_tokens"].reshape(BATCH, 5, 16),
        "predict/normalized_actions": alone,
    }
    rule_list = authors.semanticvla()
    config["grad_norms"] = gradient_norms(grads, rule_list)
    arrays = {f"w/{n}": np.asarray(w) for n, w in export(params, rule_list).items()}
    arrays |= {f"i/{n}": x for n, x in i.items()}
    arrays |= {f"o/{n}": np.asarray(x) for n, x in outputs.items()}
    np.savez(folder / f"{NAME}.npz", **arrays)
    (folder / f"{NAME}.json").write_text(json.dumps(config))


def random_parameters(model, arguments: tuple) -> dict:
    """Norm scales and LayerScale near 1, everything else near 0, so that each counts."""
    key = jax.random.key(0)
    shapes = jax.eval_shape(lambda: model.init(key, *arguments, method="from_pixels"))["params"]
    rng = np.random.default_rng(1)
    return unflatten_dict(
        {
            path: rng.normal(path[-1] in ("scale", "ls1", "ls2"), 0.2, leaf.shape).astype("f4")
            for path, leaf in flatten_dict(shapes).items()
        }
    )


def gradient_norms(grads: dict, rule_list: list) -> dict[str, float]:
    """By the authors' names; pads get no gradient."""
    table = grads["llm"]["embed_tokens"]["embedding"]
    grads["llm"]["embed_tokens"]["embedding"] = (
        np.asarray(table) * (np.arange(len(table)) != PAD)[:, None]
    )
    return {n: float(np.linalg.norm(np.asarray(g))) for n, g in export(grads, rule_list).items()}


def test_nothing_of_the_public_cases_is_assumed(tmp_path):
    write_case(tmp_path)
    quantities = registry.run_case(tmp_path, NAME).quantities
    assert {"train/attend", "predict/normalized_actions"} < {q.name for q in quantities}
    assert len([q for q in quantities if q.group == "gradient norms"]) > 100
    assert not [q for q in quantities if not q.passed]
