"""Puts accelerators around a policy: `wrap(policy, ["vla_pruner", "sp_vla"])`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from semanticvla_jax.accelerate.fastv import FastV
from semanticvla_jax.accelerate.program import Program
from semanticvla_jax.accelerate.sp_vla import Schedule
from semanticvla_jax.accelerate.spatio_semantic import SpatioSemantic
from semanticvla_jax.accelerate.token_policy import TokenPolicy
from semanticvla_jax.accelerate.vla_pruner import VLAPruner
from semanticvla_jax.errors import InputError, choose

# name -> what it adds to a decoder of so many layers. Layers are the original's where the decoder
# has them (32 layers), and in proportion or as near as there are in smaller ones.
METHODS: dict[str, Callable[[int], tuple[Any, ...]]] = {
    "vla_pruner": lambda depth: (VLAPruner(before=min(3, depth - 1), watched=(depth - 1) // 2),),
    "fastv": lambda depth: (FastV(before=min(2, depth - 1)),),
    "sp_vla": lambda depth: (SpatioSemantic(), Schedule()),
    "sp_vla_tokens": lambda depth: (SpatioSemantic(),),
    "sp_vla_schedule": lambda depth: (Schedule(),),
}


def wrap(policy: Any, methods: Sequence[Any], execute: int | None = None) -> Any:
    """A policy that computes less, with `infer` and `start_episode` as Policy has them.

    Where a method stands follows from what it is, not from the order in which methods are named:
    stages between towers and decoder, cuts inside the decoder, schedules around everything.

    Args:
      policy: semanticvla_jax.policy.Policy.
      methods: names in METHODS, or methods themselves, such as VLAPruner(drop=0.75).
      execute: actions of each chunk that the caller executes; None = all.

    Raises:
      InputError: an unknown name, two stages, or a method that does not suit the policy.
    """
    execute = policy.chunk if execute is None else execute
    parts = _parts(policy, methods)
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
