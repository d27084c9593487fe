"""What a compiled program reads from and writes to a device's memory."""

from __future__ import annotations

from semanticvla_jax.costs.hlo import Instruction, Module

FREE = frozenset(
    "parameter constant tuple get-tuple-element bitcast while conditional call after-all iota "
    "partition-id replica-id copy-done slice-done async-done async-update all-gather-done "
    "all-reduce-done collective-permute-done opt-barrier".split()
)
SLICES = ("dynamic-slice", "slice", "gather")
PREFETCH = ("copy-start", "slice-start")  # outputs: (destination, source, ...)
CONTROL = ("while", "conditional", "call")


def bytes_moved(module: Module) -> int:
    """Bytes of operands and outputs of all instructions, as often as they run.

    What lies on the chip is free; of an operand that is only sliced, and of an output that is only
    updated in place, the slice counts. A value that two instructions read counts twice.
    """
    times = module.executions()
    reached = {module.entry}
    waiting = [module.entry]
    while waiting:
        for instruction in module.computations[waiting.pop()].values():
            if instruction.opcode in CONTROL:
                waiting += [name for name in instruction.called if name not in reached]
                reached |= set(instruction.called)
    return sum(
        times[name] * _moved(module, instruction, module.computations[name])
        for name in reached
        for instruction in module.computations[name].values()
    )


def _moved(module: Module, instruction: Instruction, inside: dict[str, Instruction]) -> int:
    if instruction.opcode in FREE:
        return 0
    if instruction.opcode in PREFETCH:
        return instruction.shapes[0].size
    reads: list[int | None] = [None] * len(instruction.operands)
    writes = [shape.size for shape in instruction.shapes]
    if instruction.opcode == "fusion":
        (body, *_) = instruction.called
        reads = [_read(module, body, number) for number in range(len(reads))]
        fused = _written(module, body)
        writes = fused if len(fused) == len(writes) else writes
    elif instruction.opcode in SLICES:
        reads[0] = instruction.size
    elif instruction.opcode == "dynamic-update-slice":
        reads[0], writes = 0, [_size(inside, instruction.operands[1])]
    moved = 0
    for name, read in zip(instruction.operands, reads, strict=True):
        if name in inside and not _on_chip(inside[name]):
            moved += _size(inside, name) if read is None else min(read, _size(inside, name))
    outputs = zip(instruction.shapes, writes, strict=True)
    return moved + sum(written for shape, written in outputs if not shape.on_chip)


def _read(module: Module, computation: str, number: int) -> int | None:
    """Bytes that a fusion reads of its operand `number`; None for all of it."""
    body = module.computations[computation]
    names = [
        i.name for i in body.values() if i.opcode == "parameter" and i.operands == (str(number),)
    ]
    total, seen = 0, set(names)
    while names:
        name = names.pop()
        for user in (i for i in body.values() if name in i.operands and i.opcode != "parameter"):
            if user.opcode == "bitcast" and user.name not in seen:
                seen.add(user.name)
                names.append(user.name)
            elif user.opcode in SLICES and user.operands[0] == name:
                total += user.size
            elif user.opcode == "dynamic-update-slice" and user.operands[0] == name:
                continue
            elif user.opcode == "fusion":
                places = [n for n, operand in enumerate(user.operands) if operand == name]
                inner = [_read(module, user.called[0], n) for n in places]
                if None in inner:
                    return None
                total += sum(inner)
            else:
                return None
    return total


def _written(module: Module, computation: str) -> list[int]:
    """Bytes that a fusion writes of each output: of one that is updated in place, the update's."""
    body = module.computations[computation]
    (root,) = (i for i in body.values() if i.root)
    outputs = [body[name] for name in root.operands] if root.opcode == "tuple" else [root]
    sizes = []
    for output in outputs:
        while output.opcode == "bitcast" and output.operands[0] in body:
            output = body[output.operands[0]]
        if output.opcode == "dynamic-update-slice":
            sizes.append(_size(body, output.operands[1]))
        elif output.opcode == "fusion":
            sizes += _written(module, output.called[0])
        else:
            sizes += [shape.size for shape in output.shapes]
    return sizes


def _size(inside: dict[str, Instruction], name: str) -> int:
    return inside[name].size if name in inside else 0


def _on_chip(instruction: Instruction) -> bool:
    return bool(instruction.shapes) and all(shape.on_chip for shape in instruction.shapes)
