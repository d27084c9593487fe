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
    if instruction.opcode == "fusion":
        (body,) = instruction.called[:1]
        reads = [_read(module, body, n) for n in range(len(instruction.operands))]
        written = _written(module, body)
    else:
        reads = [None] * len(instruction.operands)
        written = None
        if instruction.opcode in SLICES:
            reads[0] = instruction.size
        if instruction.opcode == "dynamic-update-slice":
            reads[0], written = 0, _size(inside, instruction.operands[1])
    moved = 0
    for name, read in zip(instruction.operands, reads, strict=True):
        if name in inside and not _on_chip(inside[name]):
            moved += _size(inside, name) if read is None else min(read, _size(inside, name))
    if not _on_chip(instruction):
        whole = sum(shape.size for shape in instruction.shapes if not shape.on_chip)
        moved += whole if written is None else min(written, whole)
    return moved


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


def _written(module: Module, computation: str) -> int | None:
    """Bytes that a fusion writes, if it updates a part in place; None for its whole output."""
    body = module.computations[computation]
    (root,) = (i for i in body.values() if i.root)
    while root.opcode == "bitcast":
        root = body[root.operands[0]]
    if root.opcode == "dynamic-update-slice":
        return _size(body, root.operands[1])
    if root.opcode == "fusion":
        return _written(module, root.called[0])
    return None


def _size(inside: dict[str, Instruction], name: str) -> int:
    return inside[name].size if name in inside else 0


def _on_chip(instruction: Instruction) -> bool:
    return bool(instruction.shapes) and all(shape.on_chip for shape in instruction.shapes)
