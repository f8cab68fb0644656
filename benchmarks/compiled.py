"""What a compiled program takes of one device."""

import re
from collections.abc import Iterator
from typing import Any

from train.preflight import hlo_cost
from train.preflight.hlo_text import Instruction, Program, parse, trips

# How the compilers call a kernel that was written by hand.
OWN = re.compile(
    r'custom_call_target="(tpu_custom_call|__gpu\$xla\.gpu\.triton|triton)'
)


def figures(compiled: Any) -> dict[str, Any]:
    """Traffic, temporary memory, kernels and collectives, as plain numbers.

    Kernels are instructions that move something, as often as they run; own_kernels
    those of them written by hand.
    """
    program = parse(compiled.as_text())
    started = list(_started(program, program.entry, 1))
    return {
        "traffic_bytes": hlo_cost.traffic(program),
        "temporary_bytes": compiled.memory_analysis().temp_size_in_bytes,
        "kernels": sum(times for _, times in started),
        "own_kernels": sum(n for each, n in started if OWN.search(each.rest)),
        "collectives": {
            kind: found._asdict()
            for kind, found in hlo_cost.collectives(program).items()
        },
    }


def _started(
    program: Program, name: str, times: int
) -> Iterator[tuple[Instruction, int]]:
    """Instructions that move something, and how often each runs."""
    for instruction in program.computations.get(name, {}).values():
        opcode = instruction.opcode
        inner = instruction.attribute(hlo_cost.RUNS.get(opcode, "no such attribute"))
        if inner:
            runs = trips(program, instruction) if opcode == "while" else 1
            yield from _started(program, inner, times * runs)
        elif opcode not in hlo_cost.FREE and not opcode.endswith("-done"):
            if not hlo_cost.RENAMES.search(instruction.rest):
                yield instruction, times
