"""What the plain PyTorch policy builds for a configuration of ours, as plain JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from semanticvla_jax.errors import InputError
from semanticvla_jax.robots import RobotSpec

TRANSFORMER = ("width", "depth", "heads", "mlp_width")
PRUNERS = ("siglip", "dino")


def sizes(model: Mapping[str, Any], robot: RobotSpec, prompt_tokens: int) -> dict[str, Any]:
    """Sizes of a completed model configuration (models/abstract.py).

    Args:
      prompt_tokens: P, after BOS.

    Raises:
      InputError: a part that the plain policy does not have.
    """
    pruners, words = model["pruners"], model["coupler"]["name"] == "words"
    semantic = _is_semantic(pruners)
    mask = "causal" if words else model["coupler"]["mask"]["name"]
    _check("coupler", mask, ("causal", "hybrid", "full"))
    by_kind: dict[str, int] = {}
    for kind, dims in model["head"]["action_tokens"]:
        by_kind[kind] = by_kind.get(kind, 0) + len(dims)
    return {
        **{name: _tower(name, model[name]) for name in PRUNERS},
        "text": _some(pruners["text_encoder"], *TRANSFORMER, "vocab_size", "length")
        if semantic
        else None,
        "llm": _some(model["llm"], *TRANSFORMER, "vocab_size"),
        "pairs": model["fuser"]["dense_fuser"]["pairs"],
        "queries": pruners["dino"]["queries"] if semantic else 0,
        "cues": pruners["siglip"]["cues"] if semantic else 0,
        "state": robot.state_size,
        "heads": list(by_kind.values()),
        "tokens_per_step": len(model["head"]["action_tokens"]),
        "words": words,
        "mask": mask,
        "chunk": robot.chunk_length,
        "cameras": len(robot.cameras),
        "prompt_tokens": prompt_tokens,
    }


def _is_semantic(pruners: Mapping) -> bool:
    """Whether a sentence prunes what the towers see; else all patches go on."""
    names = tuple(pruners[name]["name"] for name in PRUNERS)
    known = {("instruction_driven", "spatial_aggregation"): True, ("keep_all",) * 2: False}
    _check("pruners", names, known)
    return known[names]


def _tower(name: str, slot: Mapping) -> dict[str, Any]:
    _check(f"{name}.patch_embed", slot["patch_embed"]["name"], ("patches",))
    depth = slot["depth"]
    return {
        **_some(slot, *TRANSFORMER, "image_size"),
        "depth": slot.get("feature_layer", -1) % depth + 1,  # what is behind is never run
        "patch": slot["patch_embed"]["patch"],
        "class_token": slot.get("class_token", False),
        "registers": slot.get("registers", 0),
        "checkpointed": slot.get("remat", False),
    }


def _some(slot: Mapping, *names: str) -> dict[str, Any]:
    return {name: slot[name] for name in names}


def _check(part: str, found: Any, known: Any) -> None:
    if found not in known:
        raise InputError(
            f"config.model.{part}",
            found=repr(found),
            expected=f"one of {list(known)}, which the plain PyTorch policy has",
            fix="choose another configuration, or leave --torch out",
        )
