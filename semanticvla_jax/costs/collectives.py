"""What a compiled program sends between devices: bytes by kind of collective operation."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass

from semanticvla_jax.costs.hlo import Instruction, Module

KINDS = ("all-gather", "reduce-scatter", "all-reduce", "all-to-all", "collective-permute")
FUSED_REDUCE_SCATTER = "all-reduce-scatter"  # a TPU fusion: all-reduce, then each keeps its part


@dataclass(frozen=True)
class Traffic:
    """Operations of one kind.

    Attributes:
      operations: executed in one step.
      bytes: that each device receives in one step, at the least: with n devices in a group, an
        all-gather of V bytes (n-1)/n V, a reduce-scatter the same, an all-reduce twice that.
    """

    operations: int = 0
    bytes: float = 0.0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.operations + other.operations, self.bytes + other.bytes)


def traffic(module: Module, devices: int) -> dict[str, Traffic]:
    """{kind: Traffic} of one run of a module on so many devices.

    The parts of an asynchronous operation carry its channel and count once.
    """
    times = module.executions()
    channels: dict[str, tuple[str, Traffic]] = {}
    for computation, repeats in times.items():
        for instruction in module.computations[computation].values():
            kind = kind_of(instruction, computation)
            if not kind:
                continue
            received = repeats * received_bytes(instruction, kind, devices)
            channel = re.search(r"channel_id=(\d+)", instruction.attributes)
            key = channel.group(1) if channel else f"{computation}/{instruction.name}"
            if key not in channels or channels[key][1].bytes < received:
                channels[key] = kind, Traffic(repeats, received)
    total: dict[str, Traffic] = defaultdict(Traffic)
    for kind, one in channels.values():
        total[kind] += one
    return {kind: total[kind] for kind in KINDS if kind in total}


def kind_of(instruction: Instruction, computation: str) -> str | None:
    """One of KINDS; None for everything else, and for the end of an asynchronous operation."""
    kind = instruction.opcode.removesuffix("-start")
    if kind not in KINDS:
        return None
    fused = kind == "all-reduce" and computation.startswith(FUSED_REDUCE_SCATTER)
    return "reduce-scatter" if fused else kind


def received_bytes(instruction: Instruction, kind: str, devices: int) -> float:
    """Bytes that one device receives in one execution, at the least."""
    shapes = instruction.shapes
    if instruction.opcode.endswith("-start"):
        shapes = _destinations(instruction)
    size = sum(shape.size for shape in shapes)
    group = group_size(instruction.attributes, devices)
    if kind == "collective-permute":
        return size
    if kind == "reduce-scatter" and instruction.opcode.startswith("reduce-scatter"):
        size *= group  # what goes in; the output is a part of it
    return size * (group - 1) / group * (2 if kind == "all-reduce" else 1)


def group_size(attributes: str, devices: int) -> int:
    """Devices that take part together.

    Written as `{{0,1},{2,3}}`, as `[groups,size]<=[...]`, or by a mesh's axes:
    `mesh['a'=2,'b'=4] {'b'}`; empty means all.
    """
    named = re.search(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}", attributes)
    if named:
        axes = dict(re.findall(r"'(\w+)'=(\d+)", named.group(1)))
        return math.prod(int(axes[axis]) for axis in re.findall(r"'(\w+)'", named.group(2)))
    tiled = re.search(r"replica_groups=\[\d+,(\d+)\]<=", attributes)
    if tiled:
        return int(tiled.group(1))
    listed = re.search(r"replica_groups=\{\{([\d,]*)\}", attributes)
    return len(listed.group(1).split(",")) if listed else devices


def _destinations(instruction: Instruction):
    """Of an asynchronous start's (sources, destinations, contexts)."""
    sources = len(instruction.operands)
    if instruction.opcode == "all-reduce-start":
        return instruction.shapes
    return instruction.shapes[sources : 2 * sources]
