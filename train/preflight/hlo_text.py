"""Reads the text of a compiled program: computations, instructions, sizes."""

import math
import re
from typing import NamedTuple

_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_LINE = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*?) ([a-z][\w\-]*)\((.*)$")
_ARRAY = re.compile(r"\b([a-z]+\d*\w*)\[([\d,]*)\](?:\{([^}]*)\})?")
# Memory space 0, which has no mark, is the device's memory.
_ON_CHIP = re.compile(r"S\([1-9]")
_LAYOUT = re.compile(r"^([\d,]+)(?::T\(([\d,]+)\))?")


class Instruction(NamedTuple):
    """One line.

    Attributes:
        name: unique in its computation.
        type: of the result, as text.
        opcode: such as fusion.
        operands: names of the instructions it reads.
        rest: the line's text after the opcode.
    """

    name: str
    type: str
    opcode: str
    operands: tuple[str, ...]
    rest: str

    def attribute(self, name: str) -> str | None:
        """A computation it names, such as body=%loop."""
        found = re.search(rf"\b{name}=%?([\w.\-]+)", self.rest)
        return found and found[1]


Computation = dict[str, Instruction]


class Program(NamedTuple):
    """Computations by name, each its instructions by name, and which comes first."""

    computations: dict[str, Computation]
    entry: str


def parse(text: str) -> Program:
    """Reads what `compiled.as_text()` returns.

    Raises:
        ValueError: there is no entry computation.
    """
    computations: dict[str, Computation] = {}
    entry, current = None, {}
    for line in text.splitlines():
        head = _HEAD.match(line)
        if head:
            current = computations.setdefault(head[2], {})
            entry = head[2] if head[1] else entry
        elif found := _LINE.match(line):
            name, kind, opcode, rest = found.groups()
            inside = re.split(r"\)(?:,|$)", rest)[0]
            operands = tuple(re.findall(r"%([\w.\-]+)", inside))
            current[name] = Instruction(name, kind, opcode, operands, rest)
    if entry is None:
        raise ValueError(
            "a compiled program's text must have a line that starts with ENTRY; got "
            f"{text[:60]!r}. Is it from as_text()?"
        )
    return Program(computations, entry)


def sizes(kind: str) -> list[int]:
    """Bytes of each array of a type, such as `(f32[8,3]{1,0}, u32[])`."""
    return [_bytes(dtype, _numbers(shape)) for dtype, shape, _ in _ARRAY.findall(kind)]


def memory_sizes(kind: str) -> list[int]:
    """The same in a device's memory: tiles filled up, 0 for what lives on the chip."""
    return [
        0 if _ON_CHIP.search(layout) else _bytes(dtype, _tiled(_numbers(shape), layout))
        for dtype, shape, layout in _ARRAY.findall(kind)
    ]


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",") if number]


def _bytes(dtype: str, shape: list[int]) -> int:
    bits = re.match(r"[a-z]+(\d+)", dtype)
    # A pred takes a byte; tokens take nothing.
    width = int(bits[1]) if bits else 8 * (dtype == "pred")
    return math.prod(shape) * width // 8


def _tiled(shape: list[int], layout: str) -> list[int]:
    """The shape, fastest axis first, its last axes multiples of the layout's tile."""
    found = _LAYOUT.match(layout)
    if not found:
        return shape
    # A layout names the fastest axis first; a tile's last number is of that axis.
    places = [shape[axis] for axis in _numbers(found[1])]
    tile = _numbers(found[2] or "")[::-1]
    for place, multiple in enumerate(tile[: len(places)]):
        places[place] = -(-places[place] // multiple) * multiple
    return places


def trips(program: Program, loop: Instruction) -> int:
    """How often a `while` runs: as it says, else its condition's bound, else 1."""
    said = re.search(r'known_trip_count"?:\{"?n"?:"(\d+)"', loop.rest)
    if said:
        return int(said[1])
    condition = program.computations.get(loop.attribute("condition") or "", {})
    bounds = [i for i in condition.values() if i.opcode == "constant"]
    below = any("direction=LT" in i.rest for i in condition.values())
    number = re.match(r"(\d+)\)", bounds[0].rest) if len(bounds) == 1 else None
    return int(number[1]) if number and below else 1
