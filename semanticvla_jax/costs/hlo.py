"""Compiled HLO, as `Compiled.as_text` prints it: instructions, and how often they run."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

BYTES = {"pred": 1, "bf16": 2, "token": 0, "opaque": 0}
CALLED = re.compile(r"\b(calls|to_apply|body|true_computation|false_computation)=%([\w.\-]+)")
BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
HOST = "5"  # memory space of the host; 0 is the device's memory, the others are on the chip


@dataclass(frozen=True)
class Shape:
    """One array of an instruction's type.

    Attributes:
      size: bytes, without padding.
      on_chip: lies in a scratchpad, not in the device's memory (TPU).
    """

    dtype: str
    dims: tuple[int, ...]
    on_chip: bool = False

    @property
    def size(self) -> int:
        if self.dtype in BYTES:
            width = 8 * BYTES[self.dtype]
        else:
            width = int(re.search(r"\d+", self.dtype).group())
        return math.ceil(math.prod(self.dims) * width / 8)


@dataclass(frozen=True)
class Instruction:
    """`name = shapes opcode(operands), attributes`."""

    name: str
    shapes: tuple[Shape, ...]
    opcode: str
    operands: tuple[str, ...]
    attributes: str
    root: bool

    @property
    def size(self) -> int:
        """Bytes of all outputs."""
        return sum(shape.size for shape in self.shapes)

    @property
    def called(self) -> tuple[str, ...]:
        """Computations that it runs; a loop's condition is left out."""
        branches = BRANCHES.search(self.attributes)
        more = re.findall(r"%([\w.\-]+)", branches.group(1)) if branches else ()
        return (*(name for _, name in CALLED.findall(self.attributes)), *more)


@dataclass(frozen=True)
class Module:
    """A program.

    Attributes:
      computations: {name: {instruction name: instruction}}.
      entry: name of the one that runs first.
    """

    computations: dict[str, dict[str, Instruction]]
    entry: str

    def trips(self, loop: Instruction) -> int:
        """Passes of a `while`: as the compiler notes them, or what its counter is compared with.

        A loop that shows neither counts as one pass.
        """
        known = re.search(r'known_trip_count\\?":\{\\?"n\\?":\\?"(\d+)', loop.attributes)
        if known:
            return int(known.group(1))
        condition = self.computations[re.search(r"condition=%([\w.\-]+)", loop.attributes).group(1)]
        (root,) = (i for i in condition.values() if i.root)
        constants = [
            condition[name].operands[0]
            for name in root.operands
            if name in condition and condition[name].opcode == "constant"
        ]
        return int(constants[0]) if constants and "direction=LT" in root.attributes else 1

    def executions(self) -> dict[str, int]:
        """{computation: how often it runs}, of those that the program reaches."""
        times: dict[str, int] = defaultdict(int)

        def visit(name: str, repeats: int) -> None:
            times[name] += repeats
            for instruction in self.computations[name].values():
                inner = self.trips(instruction) if instruction.opcode == "while" else 1
                for called in instruction.called:
                    visit(called, repeats * inner)

        visit(self.entry, 1)
        return dict(times)


def parse(text: str) -> Module:
    """Reads the text of an optimised module."""
    computations: dict[str, dict[str, Instruction]] = {}
    entry, current = "", {}
    for line in text.splitlines():
        head = re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line)
        if head:
            current = computations[head.group(2)] = {}
            entry = head.group(2) if head.group(1) else entry
        elif " = " in line and line.startswith("  "):
            instruction = _instruction(line)
            current[instruction.name] = instruction
    return Module(computations, entry)


def _instruction(line: str) -> Instruction:
    name, _, rest = line.strip().partition(" = ")
    root = name.startswith("ROOT ")
    end = _closing(rest) if rest.startswith("(") else rest.index(" ")
    kind, rest = rest[:end], rest[end:].lstrip()
    opcode, _, rest = rest.partition("(")
    end = _closing("(" + rest) - 1
    inside, attributes = rest[: end - 1], rest[end:]
    operands = tuple(re.findall(r"%([\w.\-]+)", inside))
    if opcode in ("constant", "parameter"):
        operands = (inside,)
    shapes = tuple(_shapes(kind))
    return Instruction(
        name.removeprefix("ROOT ").lstrip("%"), shapes, opcode, operands, attributes, root
    )


def _closing(text: str) -> int:
    """Behind the bracket that closes the one `text` begins with."""
    depth = 0
    for bracket in re.finditer(r"[()]", text):
        depth += 1 if bracket.group() == "(" else -1
        if depth == 0:
            return bracket.end()
    raise ValueError(f"unbalanced brackets in {text[:80]!r}")


def _shapes(kind: str) -> Iterator[Shape]:
    for dtype, dims, layout in re.findall(r"(\w+)\[([\d,<=]*)\](\{[^}]*\})?", kind):
        space = re.search(r"S\((\d+)\)", layout)
        on_chip = bool(space) and space.group(1) != HOST
        yield Shape(dtype, tuple(int(d) for d in re.findall(r"\d+", dims)), on_chip)
