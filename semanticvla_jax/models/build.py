"""Model configuration (plain nested dicts) -> SemanticVLA. Each slot is a name and its arguments.

A slot is `{"name": ..., **arguments}`; arguments that are slots themselves are resolved alike. What
a part must know of its neighbours (the language model's width, a tower's width and depth, the
number of action tokens) is filled in here, so a configuration states each number once. `dtype` and
`param_dtype` given inside a slot hold for it and everything inside it.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from semanticvla_jax.errors import InputError, choose
from semanticvla_jax.models import (
    coupler,
    fastv,
    flow_head,
    fusers,
    heads,
    llama,
    pruners,
    resamplers,
    sequence,
    text,
    vit,
    word_coupler,
)
from semanticvla_jax.models.layers import Dense
from semanticvla_jax.models.lora import LoRA
from semanticvla_jax.models.semanticvla import SemanticVLA

NUMERICS = ("dtype", "param_dtype")
SLOTS = ("siglip", "dino", "pruners", "fuser", "llm", "coupler", "head")

PRUNERS = {
    "instruction_driven": pruners.InstructionDrivenPruner,
    "spatial_aggregation": pruners.SpatialAggregationPruner,
    "keep_all": pruners.KeepAll,
    "modulated_keep_all": pruners.ModulatedKeepAll,
    "queries": resamplers.QueryPruner,
    "routed_queries": resamplers.RoutedQueryPruner,
}

# argument -> {name: class or function}. A new part is one more row.
PARTS: dict[str, dict[str, Any]] = {
    "siglip": {"vit": vit.VisionTower, **PRUNERS},
    "dino": {"vit": vit.VisionTower, **PRUNERS},
    "patch_embed": {"patches": vit.PatchEmbed, "convolutional_stem": vit.ConvolutionalStem},
    "pruners": {"per_tower": pruners.Pruners},
    "text_encoder": {"siglip_text": text.TextTower},
    "pooling": {
        "mean_without_pads": pruners.mean_without_pads,
        "mean_with_pads": pruners.mean_with_pads,
    },
    "fuser": {"hierarchical": fusers.HierarchicalFuser},
    "dense_fuser": {
        "residual": fusers.ResidualDenseFuser,
        "replacing": fusers.ReplacingDenseFuser,
    },
    "sparse_fuser": {"channel_concat": fusers.SparseFuser},
    "llm": {"llama": llama.Llama, "fastv_llama": fastv.FastVLlama},
    "coupler": {
        "semantic_action": coupler.ActionCoupler,
        "words": word_coupler.WordCoupler,
    },
    "decoding": {
        "autoregressive": word_coupler.Autoregressive,
        "fixed_point": word_coupler.FixedPoint,
    },
    "placeholders": {
        "zero": coupler.ZeroPlaceholders,
        "typed": coupler.TypedPlaceholders,
        "proprioceptive": coupler.ProprioceptivePlaceholders,
    },
    "mask": {
        "hybrid": sequence.hybrid_mask,
        "causal": sequence.causal_mask,
        "prefix_bidirectional": sequence.prefix_bidirectional_mask,
        "full": sequence.full_mask,
    },
    "first_row": {"shifted_left": coupler.shifted_left, "aligned": coupler.aligned},
    "head": {
        "residual_mlp": heads.ResidualMLPHead,
        "per_token": heads.PerTokenHead,
        "flow": flow_head.FlowHead,
        "bins": heads.ActionBins,
    },
}

# Parts whose Dense layers carry adapters when the configuration has a `lora` entry: the towers'
# and the language model's own layers. Everything else is trained fully, or frozen.
ADAPTED = (vit.VisionTower, llama.Llama, fastv.FastVLlama)


def build(config: Mapping[str, Any]) -> SemanticVLA:
    """The model of a configuration.

    Args:
      config: the seven slots, and optionally `dtype` and `param_dtype` (names; float32), `lora`
        {"rank", "alpha"} or None. See presets.py for complete examples.

    Raises:
      InputError: a slot is missing, a name or argument is unknown or missing, or sizes disagree.
    """
    config = _plain(config)
    _check_keys(config)
    numerics = _numerics(config, dict.fromkeys(NUMERICS, "float32"))
    resolve = functools.partial(_resolve, numerics=numerics, lora=_lora(config))
    head = resolve("head", config["head"], {"vocab_size": config["llm"]["vocab_size"]})
    coupler_config = config["coupler"]
    tokens_per_step = len(head.action_tokens)
    known = {
        "llm_width": config["llm"]["width"],
        "tokens_per_step": tokens_per_step,
        "tokens": coupler_config["chunk"] * tokens_per_step,
    }
    towers = {name: resolve(name, config[name], known) for name in ("siglip", "dino")}
    model = SemanticVLA(
        **towers,
        pruners=resolve(
            "pruners",
            {
                **config["pruners"],
                **{
                    name: _with_tower(config["pruners"], name, tower)
                    for name, tower in towers.items()
                },
            },
            known,
        ),
        fuser=resolve("fuser", config["fuser"], known),
        llm=resolve("llm", config["llm"], known),
        coupler=resolve("coupler", coupler_config, known),
        head=head,
    )
    _check_sizes(model)
    return model


def for_inference(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config.model` without what is for training: adapters, and towers' loops, which copy weights.

    Parameters of the same names go with it, but for adapters, which are folded in.
    """
    config = {**copy.deepcopy(_plain(config)), "lora": None}
    for part in (config["siglip"], config["dino"], config["pruners"].get("text_encoder") or {}):
        part.pop("scan", None)
    return config


def _resolve(kind: str, spec: Mapping, known: Mapping, *, numerics: Mapping, lora) -> Any:
    """Builds one part: `spec["name"]` from PARTS[kind], nested parts first, `known` filled in."""
    if not isinstance(spec, Mapping) or "name" not in spec:
        raise InputError(
            f"model slot '{kind}'",
            found=repr(spec),
            expected='{"name": ..., **arguments}',
            fix=f"name one of {sorted(PARTS[kind])}",
        )
    part = choose(PARTS[kind], spec["name"], f"name of model slot '{kind}'")
    numerics = _numerics(spec, numerics)
    arguments = {key: value for key, value in spec.items() if key not in ("name", *NUMERICS)}
    if not dataclasses.is_dataclass(part):
        _check_arguments(kind, spec["name"], arguments, set(), set())
        return part
    fields = {f.name: f for f in dataclasses.fields(part) if f.name not in ("parent", "name")}
    known = {**known, **{key: arguments[key] for key in ("width",) if key in arguments}}
    for key, value in known.items():
        if key in fields and key not in arguments:
            arguments[key] = value
    required = {n for n, f in fields.items() if f.default is dataclasses.MISSING}
    _check_arguments(kind, spec["name"], arguments, set(fields), required)
    for key, value in arguments.items():
        if key in PARTS:
            arguments[key] = _resolve(key, value, known, numerics=numerics, lora=lora)
        else:
            arguments[key] = _frozen(value)
    arguments |= {key: value for key, value in numerics.items() if key in fields}
    if "dense" in fields:
        adapter = lora if part in ADAPTED else None
        arguments.setdefault("dense", functools.partial(Dense, lora=adapter, **numerics))
    return part(**arguments)


def _with_tower(pruners_config: Mapping, name: str, tower: vit.VisionTower) -> dict:
    """A tower's pruner slot with the tower's sizes filled in, where its part has such arguments."""
    spec = pruners_config.get(name, {"name": "keep_all"})
    sizes = {"width": tower.width, "depth": tower.feature_index + 1}
    fields = getattr(PRUNERS.get(spec.get("name")), "__dataclass_fields__", {})
    return {**{key: value for key, value in sizes.items() if key in fields}, **spec}


def _numerics(spec: Mapping, outer: Mapping) -> dict[str, Any]:
    """The numeric types of a slot: its own, or those around it."""
    return {key: jnp.dtype(spec.get(key, outer[key])).type for key in NUMERICS}


def _lora(config: Mapping) -> LoRA | None:
    return LoRA(**config["lora"]) if config.get("lora") else None


def _plain(config: Any) -> Any:
    """ConfigDicts and dicts -> dicts."""
    if hasattr(config, "to_dict"):
        config = config.to_dict()
    if isinstance(config, Mapping):
        return {key: _plain(value) for key, value in config.items()}
    return config


def _frozen(value: Any) -> Any:
    """Lists -> tuples, so that modules stay hashable."""
    return tuple(_frozen(v) for v in value) if isinstance(value, list | tuple) else value


def _check_keys(config: Mapping) -> None:
    missing = [slot for slot in SLOTS if slot not in config]
    unknown = sorted(set(config) - {*SLOTS, *NUMERICS, "lora"})
    if missing or unknown:
        raise InputError(
            "model configuration",
            found=f"missing {missing}, unknown {unknown}",
            expected=f"the slots {list(SLOTS)} and optionally dtype, param_dtype, lora",
            fix="start from a function of semanticvla_jax/models/presets.py",
        )


def _check_arguments(kind: str, name: str, arguments: Mapping, fields: set, required: set) -> None:
    unknown, missing = sorted(set(arguments) - fields), sorted(required - set(arguments))
    if unknown or missing:
        raise InputError(
            f"arguments of model slot '{kind}' = '{name}'",
            found=f"unknown {unknown}, missing {missing}",
            expected=f"some of {sorted(fields)}, and all of {sorted(required)}",
            fix="correct the model configuration",
        )


def _check_sizes(model: SemanticVLA) -> None:
    for tower, name in ((model.siglip, "siglip"), (model.dino, "dino")):
        if tower.width % tower.heads or tower.image_size % tower.patch_embed.patch:
            raise InputError(
                f"sizes of model slot '{name}'",
                found=f"width {tower.width}, heads {tower.heads}, image {tower.image_size}, "
                f"patch {tower.patch_embed.patch}",
                expected="heads dividing the width, and patches dividing the image",
                fix="correct the model configuration",
            )
        pruner = getattr(model.pruners, name)
        if getattr(pruner, "anchors", 0) > tower.patches:
            raise InputError(
                f"anchors of the pruner of '{name}'",
                found=pruner.anchors,
                expected=f"at most the tower's {tower.patches} patches",
                fix="keep fewer patches, or make them smaller",
            )
    for dino, siglip in model.fuser.dense_fuser.pairs:
        if dino > model.dino.feature_index or siglip > model.siglip.feature_index:
            raise InputError(
                "pairs of model slot 'dense_fuser'",
                found=[dino, siglip],
                expected=f"blocks up to [{model.dino.feature_index}, {model.siglip.feature_index}]",
                fix="choose earlier blocks or a later feature_layer",
            )
