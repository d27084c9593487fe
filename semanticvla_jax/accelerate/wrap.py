"""Puts accelerators around a policy: `wrap(policy, ["vla_pruner", "sp_vla"])`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from semanticvla_jax.accelerate.methods import read_methods
from semanticvla_jax.accelerate.program import Program
from semanticvla_jax.accelerate.sp_vla import Schedule
from semanticvla_jax.accelerate.token_policy import TokenPolicy
from semanticvla_jax.errors import InputError
from semanticvla_jax.inference.fused import unfuse
from semanticvla_jax.policy import stack


class Accelerated(NamedTuple):
    """What methods make of a policy.

    policy: the policy, with fewer layers if a method leaves some out.
    program: of its model, with the methods that choose tokens; None without any.
    schedules: what goes around.
    """

    policy: Any
    program: Program | None
    schedules: tuple[Schedule, ...]


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
      methods: as methods.read_methods reads them, or methods themselves, such as
        VLAPruner(drop=0.75).
      execute: actions of each chunk that the caller executes; None = all.
      typical: observations by which efficient_vla judges layers.

    Raises:
      InputError: an unknown name, two stages, or a method that does not suit the policy.
    """
    execute = policy.chunk if execute is None else execute
    depth, parts = policy.model.llm.depth, []
    for method in methods:
        parts += read_methods(method, depth) if isinstance(method, str) else [method]
    inputs = [policy.prepare(observation) for observation in typical]
    policy, program, schedules = assemble(policy, parts, inputs)
    if program is not None:
        policy = TokenPolicy(policy, program, execute)
    for schedule in schedules:
        policy = schedule.around(policy, execute)
    return policy


def assemble(
    policy: Any, methods: Sequence[Any], typical: Sequence[Mapping[str, Any]] = ()
) -> Accelerated:
    """The parts, nothing compiled yet.

    Args:
      policy: semanticvla_jax.policy.Policy.
      methods: themselves.
      typical: the model's inputs, without a batch axis, by which efficient_vla judges layers.

    Raises:
      InputError: as `wrap`.
    """
    check_composition(methods)
    model, params = unfuse(policy.model, policy.params)
    policy = dataclasses.replace(policy, model=model, params=params)
    for part in methods:
        if hasattr(part, "reshape"):
            policy = _reshaped(policy, part, typical)
    inside = [part for part in methods if hasattr(part, "cuts")]
    stages = [part for part in methods if hasattr(part, "combine")]
    program = None
    if stages or inside:
        program = Program(policy.model, policy.params, *stages, methods=inside)
    return Accelerated(policy, program, tuple(part for part in methods if hasattr(part, "around")))


def check_composition(methods: Sequence[Any]) -> None:
    """Raises InputError where methods do not go together, whatever the policy."""
    stages = [part for part in methods if hasattr(part, "combine")]
    inside = [part for part in methods if hasattr(part, "cuts")]
    names = [part.name for part in methods]
    if len(set(names)) < len(names):
        raise InputError("accelerators", found=names, expected="each once", fix="name each once")
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


def _reshaped(policy: Any, part: Any, typical: Sequence[Mapping[str, Any]]) -> Any:
    """The policy with another model; everything else is as before."""
    if not typical:
        raise InputError(
            f"observations for accelerator '{part.name}'",
            found="none",
            expected="some that are typical of the task",
            fix="pass some (typical=..., or --typical DATASET)",
        )
    model, params = part.reshape(policy.model, policy.params, stack(typical))
    label = f"{policy.label}+{part.name}"
    return dataclasses.replace(policy, label=label, model=model, params=params)
