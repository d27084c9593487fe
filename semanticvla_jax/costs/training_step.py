"""A configuration's training step, compiled for chips that need not be here."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
from jax.sharding import Mesh

from semanticvla_jax.costs import collectives, components, hbm_traffic, hlo, products
from semanticvla_jax.models.abstract import abstract_batch, complete
from semanticvla_jax.models.build import build
from semanticvla_jax.robots import find_robot
from semanticvla_jax.training import parameters
from semanticvla_jax.training.program import Program

# Full effort, which a run's own compilation makes, takes several times as long.
QUICK = {"exec_time_optimization_effort": -1.0}


@dataclass(frozen=True)
class Memory:
    """Bytes per chip.

    Attributes:
      frozen, trained, optimizer, average, batch: of the step's arguments, by their sharding.
      arguments, outputs, aliased, temporaries, code: XLA's own figures, padding included; outputs
        that take an argument's place are `aliased`.
      peak: XLA's figure of what is alive at once, where it states one.
    """

    frozen: int
    trained: int
    optimizer: int
    average: int
    batch: int
    arguments: int = 0
    outputs: int = 0
    aliased: int = 0
    temporaries: int = 0
    code: int = 0
    peak: int = 0

    @property
    def stored(self) -> int:
        """Arguments, by their sharding."""
        return self.frozen + self.trained + self.optimizer + self.average + self.batch

    @property
    def total(self) -> int:
        """What the step needs: arguments, new outputs, temporaries and its own code.

        XLA leaves out arguments that the step does not use, but they stay where they are.
        """
        arguments = max(self.arguments, self.stored)
        return arguments + self.outputs - self.aliased + self.temporaries + self.code


@dataclass(frozen=True)
class Flops:
    """Of one step: forward, recomputation and backward, all chips; a multiply-add is 2.

    Attributes:
      split: of products that the tensor axis splits, decoder and MLPs.
      whole: of the others, which every chip of that axis repeats.
    """

    split: int
    whole: int

    @property
    def total(self) -> int:
        return self.split + self.whole

    def per_chip(self, mesh: Mesh) -> float:
        return (self.split + self.whole * mesh.shape["tensor"]) / mesh.size


@dataclass(frozen=True)
class CompiledStep:
    """What one step costs each chip.

    Attributes:
      flops: of each chip, recomputation included; a multiply-add is 2.
      memory_bytes: read from and written to each chip's memory.
      traffic: {kind: collectives.Traffic} of each chip.
      compile_seconds: wall-clock, on this machine.
      refused: XLA's words, if the step needs more memory than the compiler's chip has; the figures
        behind `memory` are then missing.
    """

    flops: float
    memory: Memory
    memory_bytes: int = 0
    traffic: Mapping[str, collectives.Traffic] = field(default_factory=dict)
    compile_seconds: float = 0.0
    refused: str = ""

    @property
    def traffic_bytes(self) -> float:
        return sum(one.bytes for one in self.traffic.values())


def program(config: ml_collections.ConfigDict, mesh: Mesh) -> Program:
    """The program that training would run, without data and vocabulary files.

    Raises:
      InputError: the configuration cannot be built, or does not go with the mesh.
    """
    robot, model = find_robot(config.robot), complete(config)
    example = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
        abstract_batch(model, robot, config.data.prompt_length),
    )
    return Program(config, robot, build(model), example, mesh)


def flops(program: Program) -> Flops:
    """Counted by tracing: they depend on no compiler."""
    step, arguments = program.step_function.__wrapped__, program.abstract_arguments()
    counted = products.trace(step, *arguments).products
    split = sum(product.flops for product in counted if _is_split(product.module))
    return Flops(split, products.total(counted) - split)


def _is_split(module: str) -> bool:
    return components.component(module) == "LLM" or module.endswith(("fc1", "fc2"))


def compile_step(
    program: Program, flops: Flops, options: Mapping[str, Any] | None = None
) -> CompiledStep:
    """Compiles the step for its mesh.

    Args:
      flops: of one step.
      options: of XLA, beside the program's own; None = QUICK.
    """
    memory, per_chip = stored(program), flops.per_chip(program.mesh)
    began = time.monotonic()
    lowered = program.step_function.lower(*program.abstract_arguments())
    try:
        compiled = lowered.compile(compiler_options=dict(QUICK if options is None else options))
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return CompiledStep(
            per_chip,
            memory,
            compile_seconds=time.monotonic() - began,
            refused=str(error).removeprefix("RESOURCE_EXHAUSTED: ").splitlines()[0],
        )
    seconds = time.monotonic() - began
    module = hlo.parse(compiled.as_text())
    return CompiledStep(
        per_chip,
        _with_analysis(memory, compiled.memory_analysis()),
        hbm_traffic.bytes_moved(module),
        collectives.traffic(module, program.mesh.size),
        seconds,
    )


def stored(program: Program) -> Memory:
    """The arguments' part of Memory: no compiler is asked."""
    state, frozen, batch = program.abstract_arguments()
    return Memory(
        frozen=_per_chip(frozen),
        trained=_per_chip(state.trainable),
        optimizer=_per_chip(state.optimizer),
        average=_per_chip(state.average),
        batch=_per_chip(batch),
    )


def parameter_counts(program: Program) -> tuple[int, int]:
    """(all parameters, trained ones)."""
    return parameters.count(program.shapes), parameters.count(program.state_shapes.trainable)


def _per_chip(tree: Any) -> int:
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def _with_analysis(memory: Memory, analysis: Any) -> Memory:
    return replace(
        memory,
        arguments=analysis.argument_size_in_bytes,
        outputs=analysis.output_size_in_bytes,
        aliased=analysis.alias_size_in_bytes,
        temporaries=analysis.temp_size_in_bytes,
        code=analysis.generated_code_size_in_bytes,
        peak=getattr(analysis, "peak_memory_in_bytes", 0),
    )
