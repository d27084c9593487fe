"""Puts accelerators around a policy: `wrap(policy, ["vla_pruner", "sp_vla"])`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from semanticvla_jax.accelerate.adaptive import AdaptiveRatio
from semanticvla_jax.accelerate.fastv import FastV
from semanticvla_jax.accelerate.fopru import FoPru
from semanticvla_jax.accelerate.layer_skipping import LayerSkipping
from semanticvla_jax.accelerate.program import Program
from semanticvla_jax.accelerate.prumerge import PruMerge
from semanticvla_jax.accelerate.random_drop import RandomDrop
from semanticvla_jax.accelerate.sp_vla import Schedule
from semanticvla_jax.accelerate.sparsevlm import SparseVLM
from semanticvla_jax.accelerate.spatio_semantic import SpatioSemantic
from semanticvla_jax.accelerate.token_policy import TokenPolicy
from semanticvla_jax.accelerate.visionzip import VisionZip
from semanticvla_jax.accelerate.vla_cache import VLACache
from semanticvla_jax.accelerate.vla_pruner import VLAPruner
from semanticvla_jax.errors import InputError, choose
from semanticvla_jax.policy import stack

# name -> what it adds to a decoder of so many layers. Layers are the original's where the decoder
# has them (32 layers), and in proportion or as near as there are in smaller ones.
METHODS: dict[str, Callable[[int], tuple[Any, ...]]] = {
    "vla_pruner": lambda depth: (VLAPruner(before=early(3, depth), watched=(depth - 1) // 2),),
    "sp_vla": lambda depth: (SpatioSemantic(), Schedule()),
    "sp_vla_tokens": lambda depth: (SpatioSemantic(),),
    "sp_vla_schedule": lambda depth: (Schedule(),),
    "random": lambda depth: (RandomDrop(),),
    "fastv": lambda depth: (FastV(before=early(2, depth)),),
    "sparsevlm": lambda depth: (SparseVLM().scaled(depth),),
    "fopru": lambda depth: (FoPru(),),
    "prumerge": lambda depth: (PruMerge(),),
    "visionzip": lambda depth: (VisionZip(),),
    "vla_cache": lambda depth: (VLACache(watched=(depth - 1) // 2),),
    "efficient_vla": lambda depth: (LayerSkipping(),),
    "adaptive": lambda depth: (AdaptiveRatio(),),
}


def early(layer: int, depth: int) -> int:
    """That layer, or the last there is; never the first, before which nothing was attended to."""
    return max(1, min(layer, depth - 1))


def wrap(
    policy: Any,
    methods: Sequence[Any],
    execute: int | None = None,
    typical: Sequence[Mapping[str, Any]] = (),
) -> Any:
    """A policy that computes less, with `infer` and `start_episode` as Policy has them.

    Where a method stands follows from what it is, not from the order in which methods are named:
    stages between towers and decoder, cuts inside the decoder, schedules around everything.

    Args:
      policy: semanticvla_jax.policy.Policy.
      methods: names in METHODS, or methods themselves, such as VLAPruner(drop=0.75).
      execute: actions of each chunk that the caller executes; None = all.
      typical: observations by which efficient_vla judges layers.

    Raises:
      InputError: an unknown name, two stages, or a method that does not suit the policy.
    """
    execute = policy.chunk if execute is None else execute
    parts = _parts(policy, methods)
    for part in parts:
        if hasattr(part, "reshape"):
            policy = _reshaped(policy, part, typical)
    stages = [part for part in parts if hasattr(part, "combine")]
    inside = [part for part in parts if hasattr(part, "cuts")]
    around = [part for part in parts if hasattr(part, "around")]
    if len(stages) > 1:
        raise InputError(
            "accelerators before the decoder",
            found=[stage.name for stage in stages],
            expected="one of them",
            fix="name one; methods inside the decoder and schedules can be added",
        )
    if inside and hasattr(stages[0] if stages else None, "decoder"):
        raise InputError(
            "accelerators inside the decoder",
            found=[part.name for part in (*stages, *inside)],
            expected=f"{stages[0].name} alone",
            fix="name either it or the others",
        )
    if stages or inside:
        program = Program(policy.model, policy.params, *stages[:1], methods=inside)
        policy = TokenPolicy(policy, program, execute)
    for schedule in around:
        policy = schedule.around(policy, execute)
    return policy


def _parts(policy: Any, methods: Sequence[Any]) -> list[Any]:
    depth, parts = policy.model.llm.depth, []
    for method in methods:
        named = isinstance(method, str)
        parts += choose(METHODS, method, "accelerator")(depth) if named else [method]
    return parts


def _reshaped(policy: Any, part: Any, typical: Sequence[Mapping[str, Any]]) -> Any:
    """The policy with another model; everything else is as before."""
    if not typical:
        raise InputError(
            f"observations for accelerator '{part.name}'",
            found="none",
            expected="some that are typical of the task",
            fix="pass typical=[observation, ...]",
        )
    batch = stack([policy.prepare(observation) for observation in typical])
    model, params = part.reshape(policy.model, policy.params, batch)

    @jax.jit
    def forward(params, batch):
        return model.apply({"params": params}, batch)[0]

    @jax.jit
    def explain(params, batch):
        return model.apply({"params": params}, batch)[1]

    label = f"{policy.label}+{part.name}"
    return dataclasses.replace(
        policy, label=label, model=model, params=params, forward=forward, explain=explain
    )
