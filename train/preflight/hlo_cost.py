"""What a compiled program moves, from its text: through the memory, between chips."""

import re
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import NamedTuple

from train.preflight.hlo_text import (
    Computation,
    Instruction,
    Program,
    memory_sizes,
    sizes,
    trips,
)

SLICES = frozenset(("slice", "dynamic-slice", "gather"))
# Inside a fusion computed only where what follows asks for it.
RESHAPES = frozenset(("bitcast", "reshape", "transpose", "convert"))


class Update(NamedTuple):
    """How an instruction changes some places of its first operand.

    Attributes:
        operand: which one has the new values.
        touched: how often it goes to the places: to write, to read what it adds to.
    """

    operand: int
    touched: int


UPDATES = MappingProxyType(
    {"dynamic-update-slice": Update(1, 1), "scatter": Update(2, 2)}
)


def sliced(fused: Computation, number: int, size: int) -> int:
    """Bytes a fusion reads of an operand of a size: less if it only slices it."""
    for name, instruction in fused.items():
        if instruction.opcode == "parameter" and _number(instruction) == number:
            return _read(fused, name, size)
    return size


def _number(parameter: Instruction) -> int:
    return int(parameter.rest.split(")")[0])


def _read(fused: Computation, name: str, size: int) -> int:
    users = [user for user in fused.values() if name in user.operands]
    return sum(_read_by(fused, user, name, size) for user in users) or size


def _read_by(fused: Computation, user: Instruction, name: str, size: int) -> int:
    if user.opcode in RESHAPES:
        return _read(fused, user.name, size)
    if user.opcode in SLICES and user.operands[0] == name:
        return sum(sizes(user.type))
    return size


def updated(fused: Computation) -> tuple[int, int] | None:
    """For a fusion that ends in an update: which operand, and bytes touched of it.

    Compilers make such a fusion's result in the operand's place.
    """
    # Printed after all that it needs, the result is last.
    root = _source(fused, next(reversed(fused), None))
    if root is None or root.opcode not in UPDATES:
        return None
    target = _source(fused, root.operands[0])
    if target is None or target.opcode != "parameter":
        return None
    update = UPDATES[root.opcode]
    values = fused[root.operands[update.operand]]
    return _number(target), update.touched * sum(sizes(values.type))


def _source(fused: Computation, name: str | None) -> Instruction | None:
    """What an instruction is another name of."""
    found = fused.get(name or "")
    while found and found.opcode == "bitcast":
        found = fused.get(found.operands[0])
    return found


# They move nothing themselves.
FREE = frozenset(
    ("parameter", "constant", "bitcast", "tuple", "get-tuple-element", "while",
     "conditional", "call", "after-all", "partition-id", "replica-id")
)  # fmt: skip
# Custom calls that rename arrays.
RENAMES = re.compile(r'custom_call_target="(ConcatBitcast|AllocateBuffer|AssumeGather)')
# Opcode -> the attribute that names what it runs.
RUNS = MappingProxyType({"while": "body", "call": "to_apply"})
COLLECTIVES = (
    "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute",
    "collective-broadcast", "ragged-all-to-all",
)  # fmt: skip


class Collective(NamedTuple):
    """One kind of exchange between the devices.

    Attributes:
        calls: a step.
        bytes: that a device hands in, a step.
    """

    calls: int
    bytes: int


def traffic(program: Program) -> int:
    """Bytes that one step reads from a device's memory and writes to it.

    Each instruction reads its operands and writes its result once; what lives on the
    chip does not count; of an operand that is only sliced, the slice does; of an array
    that is updated in place, the places. Loops count as often as they run. A custom
    call counts like any other: what it reads again may come from a cache.
    """
    return sum(
        times * _moved(program, computation, instruction)
        for computation, instruction, times in _walk(program, program.entry, 1, False)
    )


def collectives(program: Program) -> dict[str, Collective]:
    """The exchanges between devices by kind, those inside other instructions too."""
    found: dict[str, Collective] = {}
    for computation, instruction, times in _walk(program, program.entry, 1, True):
        kind = instruction.opcode.removesuffix("-start")
        if kind in COLLECTIVES:
            before = found.get(kind, Collective(0, 0))
            handed = sum(_operands(computation, instruction, sizes))
            found[kind] = Collective(
                before.calls + times, before.bytes + times * handed
            )
    return found


def _walk(
    program: Program, name: str | None, times: int, deep: bool
) -> Iterator[tuple[Computation, Instruction, int]]:
    """Instructions and how often they run; deep: also those inside fusions."""
    computation = program.computations.get(name or "", {})
    for instruction in computation.values():
        yield computation, instruction, times
        loop = instruction.opcode == "while"
        runs = times * trips(program, instruction) if loop else times
        yield from _walk(program, _called(instruction, deep), runs, deep)


def _called(instruction: Instruction, deep: bool) -> str | None:
    """The computation that an instruction runs; of branches, the first."""
    if instruction.opcode == "conditional":
        branches = re.search(r"branch_computations=\{%?([\w.\-]+)", instruction.rest)
        return branches[1] if branches else instruction.attribute("true_computation")
    name = RUNS.get(instruction.opcode, "calls" if deep else None)
    return instruction.attribute(name) if name else None


def _moved(program: Program, computation: Computation, instruction: Instruction) -> int:
    opcode, kind = instruction.opcode, instruction.type
    if opcode in FREE or opcode.endswith("-done") or RENAMES.search(instruction.rest):
        return 0
    if opcode == "copy-start":  # its type: where to, where from, a flag
        return sum(memory_sizes(kind))
    if opcode == "slice-start":  # its type: where from, the slice, a flag
        return sizes(kind)[1]
    read = list(_operands(computation, instruction, memory_sizes))
    if update := UPDATES.get(opcode):
        return sum(read[1:]) + update.touched * read[update.operand]
    written = sum(memory_sizes(kind))
    if opcode in SLICES:
        return 2 * written
    fused = program.computations.get(instruction.attribute("calls") or "", {})
    target, touched = updated(fused) or (None, written)
    return touched + sum(
        min(size, sliced(fused, number, size))
        for number, size in enumerate(read)
        if number != target
    )


def _operands(
    computation: Computation,
    instruction: Instruction,
    sizes_of: Callable[[str], list[int]],
) -> Iterator[int]:
    for name in instruction.operands:
        found = computation.get(name)
        yield sum(sizes_of(found.type)) if found else 0
