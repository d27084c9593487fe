"""Finds a mesh for a configuration on some chips, and says whether its training step fits there."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ml_collections

from semanticvla_jax.costs import meshes, training_step
from semanticvla_jax.costs.topologies import STAND_IN, Topology, compile_devices
from semanticvla_jax.costs.training_roofline import Roofline, Run
from semanticvla_jax.costs.training_step import CompiledStep
from semanticvla_jax.training import sharding
from semanticvla_jax.training.program import Program

MISSES = 4


@dataclass(frozen=True)
class Plan:
    """A training step on chips, compiled.

    Attributes:
      mesh: {axis: size}.
      batch: samples of a step, over all chips and parts.
      accumulate_steps: parts of the batch, one after the other.
      parameters, trained: counts.
      steps: of the whole run.
    """

    topology: Topology
    mesh: Mapping[str, int]
    batch: int
    accumulate_steps: int
    parameters: int
    trained: int
    steps: int
    compiled: CompiledStep

    @property
    def fits(self) -> bool:
        return not self.compiled.refused and self.needed <= self.topology.chip.memory

    @property
    def needed(self) -> int:
        """Bytes per chip: of what is known, if the compiler refused."""
        memory = self.compiled.memory
        return max(memory.total, memory.stored)

    @property
    def at_once(self) -> int:
        """Samples that the chips of one place on data x fsdp hold at a time."""
        return self.batch // (self.accumulate_steps * self.mesh["data"] * self.mesh["fsdp"])

    @property
    def roofline(self) -> Roofline:
        return Roofline.of(self.compiled, self.topology)

    @property
    def run(self) -> Run:
        return Run.of(
            self.roofline.seconds, batch=self.batch, steps=self.steps, chips=self.topology.count
        )

    @property
    def setting(self) -> str:
        """'data=8 tensor=2, accumulate_steps=4'."""
        parts = f", accumulate_steps={self.accumulate_steps}" if self.accumulate_steps > 1 else ""
        return meshes.describe(self.mesh) + parts

    def advice(self) -> str:
        """What to change so that it fits; '' if it does."""
        if self.fits:
            return ""
        memory, fsdp = self.compiled.memory, self.mesh["fsdp"]
        more = ["more chips"]
        if fsdp < self.topology.count:
            more.insert(0, f"more fsdp (now {fsdp})")
        if memory.stored <= self.topology.chip.memory:
            more.insert(0, "remat of what keeps its activations")
            if self.at_once > 1:
                more.insert(0, f"accumulate_steps={2 * self.accumulate_steps}")
                more.insert(1, f"fewer samples per chip (now {self.at_once} at a time)")
        return "change one of: " + ", ".join(more)

    def estimate(self) -> str:
        """How the figures came about where no compiler for these chips is at hand; '' else."""
        if self.topology.compiles:
            return ""
        return (
            "estimate: JAX compiles for GPUs only where there is one. Memory and traffic are those "
            f"of the same step, on the same mesh, compiled for as many {STAND_IN} chips."
        )


def find(
    config: ml_collections.ConfigDict,
    topology: Topology,
    *,
    mesh: Mapping[str, int] | None = None,
    candidates: int = 3,
    options: Mapping[str, Any] | None = None,
) -> list[Plan]:
    """Compiles the likeliest settings; the first plan returned is the best.

    The best is the fastest that fits, by its roofline; if none fits, the one that needs least.
    `accumulate_steps` is raised only when nothing fits without.

    Args:
      mesh: the only one to try; None = search.
      candidates: how many that fit to compile, of which the best is taken; those that turn out not
        to fit, MISSES at most, come on top.
      options: of XLA; None = those of `training_step.QUICK`.

    Raises:
      InputError: the configuration goes with no mesh of these chips, or no compiler is installed.
    """
    devices = compile_devices(topology)
    whole = training_step.program(config, sharding.make_mesh(devices=devices[:1]))
    flops = training_step.flops(whole)
    found: list[Plan] = []
    for changed, sizes in _settings(config, topology, mesh, whole):
        if not _promising(changed, sizes, found, whole):
            continue
        program = training_step.program(changed, sharding.make_mesh(**sizes, devices=devices))
        found.append(
            _plan(changed, topology, program, training_step.compile_step(program, flops, options))
        )
        if sum(plan.fits for plan in found) == candidates or len(found) == candidates + MISSES:
            break
    return sorted(found, key=_preference)


def _settings(config, topology, mesh, whole: Program) -> Iterator[tuple[Any, dict[str, int]]]:
    """(configuration, mesh), without accumulation first."""
    parts = config.get("accumulate_steps", 1)
    while parts <= config.batch_size and config.batch_size % parts == 0:
        changed = copy.deepcopy(config)
        changed.accumulate_steps = parts
        if mesh:
            yield changed, dict(mesh)
            return
        if not meshes.possible(topology.count, config.batch_size // parts, config.model.llm.heads):
            if parts == config.get("accumulate_steps", 1):
                meshes.ranked(changed, topology, whole.shapes, whole.selected)  # raises
            return
        for sizes in meshes.ranked(changed, topology, whole.shapes, whole.selected):
            yield changed, sizes
        parts *= 2


def _promising(config, sizes: Mapping[str, int], found: list[Plan], whole: Program) -> bool:
    """Whether a setting may beat those already compiled."""
    if any(plan.fits and plan.accumulate_steps < config.accumulate_steps for plan in found):
        return False
    at_once = config.batch_size / (config.accumulate_steps * sizes["data"] * sizes["fsdp"])
    stored = meshes.stored(sizes, whole.shapes, whole.selected)
    for plan in found:
        if plan.fits:
            continue
        if plan.compiled.refused:
            if stored > 0.6 * plan.compiled.memory.stored and at_once >= plan.at_once:
                return False
        elif stored + _scaled(plan, at_once, sizes) > plan.topology.chip.memory:
            return False
    return True


def _scaled(plan: Plan, at_once: float, sizes: Mapping[str, int]) -> float:
    """Another setting's temporaries, if they go with the samples that a chip has at a time."""
    before = plan.at_once / plan.mesh["tensor"]
    return plan.compiled.memory.temporaries * min(1.0, at_once / sizes["tensor"] / before)


def _plan(config, topology: Topology, program: Program, compiled: CompiledStep) -> Plan:
    total, trained = training_step.parameter_counts(program)
    return Plan(
        topology,
        dict(program.mesh.shape),
        config.batch_size,
        config.accumulate_steps,
        total,
        trained,
        config.total_steps,
        compiled,
    )


def _preference(plan: Plan) -> tuple:
    if plan.fits:
        return (0, plan.roofline.seconds)
    return (1 + bool(plan.compiled.refused), plan.needed)
