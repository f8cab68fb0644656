"""What a fusion leaves alone of its operands: all that it slices off or keeps."""

from types import MappingProxyType
from typing import NamedTuple

from train.preflight.hlo_text import Computation, Instruction, sizes

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
