"""What a compiled program moves, from its text: through the memory, between chips."""

import re
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import NamedTuple

from prm_flax.prm.kernels.gpu import READ_AGAIN
from train.hlo_fusion import SLICES, UPDATES, sliced, updated
from train.preflight.hlo_text import (
    Computation,
    Instruction,
    Program,
    memory_sizes,
    sizes,
    trips,
)

# In the name of a kernel that reads operands more than once.
AGAIN = re.compile(READ_AGAIN + r"=(\d+)")
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
    call counts like any other; what it reads again if its name says so.
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
    again = AGAIN.search(instruction.rest) if opcode == "custom-call" else None
    return (
        int(again[1] if again else 0)
        + touched
        + sum(
            min(size, sliced(fused, number, size))
            for number, size in enumerate(read)
            if number != target
        )
    )


def _operands(
    computation: Computation,
    instruction: Instruction,
    sizes_of: Callable[[str], list[int]],
) -> Iterator[int]:
    for name in instruction.operands:
        found = computation.get(name)
        yield sum(sizes_of(found.type)) if found else 0
