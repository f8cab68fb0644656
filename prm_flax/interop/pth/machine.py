"""A pickle machine that builds plain data and descriptions of tensors, nothing else.

Python's own `pickle` runs whatever a file names. This machine looks names up in `CALLS`
and `DTYPES`, imports nothing for a file, and needs memory in proportion to the pickle,
which is capped. `opcodes.py` says which opcode does what.
"""

import struct
from typing import Any, NamedTuple

from prm_flax.interop.pth.records import CALLS, DTYPES, Storage, add_item

# A MobileNetV2's state dict has 0.05 MiB of pickle. One byte can become an object of 64
# bytes and its place in a list, so this bounds the memory at some 300 MiB.
MAX_PICKLE_BYTES = 4 << 20


class Global(NamedTuple):
    """The name of a Python object, as the file writes it."""

    name: str


class Machine:
    """The state of one pickle that is being read.

    Args:
        data: the file.
        position: where the pickle begins.

    Methods raise ValueError with the reason, or what Python raises when an operand is
    missing or of the wrong type: `opcodes.load` makes that a ValueError too.
    """

    def __init__(self, data: bytes, position: int):
        self.data, self.position = data, position
        self.end = min(len(data), position + MAX_PICKLE_BYTES)
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        start, stop = self.position, self.position + count
        if count < 0 or stop > self.end:
            raise ValueError(
                f"a pickle in it runs past byte {self.end}: the file is cut off or "
                f"damaged (or the pickle exceeds the {MAX_PICKLE_BYTES} bytes allowed)."
            )
        self.position = stop
        return self.data[start:stop]

    def number(self, layout: str) -> Any:
        """The next number, in a layout of `struct`."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def line(self) -> str:
        """The text up to the next end of line."""
        stop = self.data.find(b"\n", self.position, self.end)
        return self.take(stop + 1 - self.position)[:-1].decode()

    def pop(self, count: int) -> tuple[Any, ...]:
        """Takes the upper `count` objects off the stack."""
        return tuple([self.stack.pop() for _ in range(count)][::-1])

    def mark(self) -> None:
        """Begins a new stack upon the present one."""
        self.below.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[Any]:
        """Takes all objects since the last mark."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def put(self, index: int) -> None:
        """Remembers the uppermost object."""
        self.memo[index] = self.stack[-1]

    def protocol(self) -> None:
        """Checks the pickle protocol."""
        if (version := self.number("B")) != 2:
            raise ValueError(f"pickle protocol 2 is read, this one is {version}.")

    def set_items(self, items: list[Any]) -> None:
        """Adds keys and values, in turns, to the dictionary on the stack."""
        if len(items) % 2:
            raise TypeError("a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            add_item(self.stack[-1], key, value)

    def append(self, items: list[Any]) -> None:
        """Lengthens the list on the stack."""
        if type(self.stack[-1]) is not list:
            raise TypeError("items for something that is no list")
        self.stack[-1].extend(items)

    def find(self) -> Global:
        """Reads a name; refuses it unless it is in one of the two tables."""
        name = f"{self.line()}.{self.line()}"
        if name not in CALLS and name not in DTYPES:
            raise ValueError(
                f"it asks for the Python object {name[:100]!r}, and only tensors, "
                "dictionaries, lists and plain values are read. In PyTorch, save the "
                "weights alone: torch.save(model.state_dict(), path)."
            )
        return Global(name)

    def call(self) -> Any:
        """Applies what `find` gave to the tuple above it."""
        function, arguments = self.pop(2)
        if type(function) is not Global or type(arguments) is not tuple:
            raise TypeError("a call of something that is no name")
        return CALLS[function.name](*arguments)

    def build(self) -> None:
        """Drops the attributes of a state dict: its modules' versions."""
        self.stack.pop()
        if type(self.stack[-1]) is not dict:
            raise TypeError("attributes for something that is no dictionary")

    def storage(self) -> Storage:
        """Describes the storage whose identification is on the stack."""
        identity = self.stack.pop()
        if type(identity) is not tuple or type(identity[1]) is not Global:
            raise TypeError("a storage must be identified by a tuple and a type")
        kind, dtype, key, _location, size, *view = identity
        if kind != "storage" or view not in ([], [None]):
            raise ValueError("it has a storage in a form PyTorch no longer writes.")
        storage = Storage(key, DTYPES[dtype.name], size)
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError(f"storage {key[:100]!r} is described in two ways.")
        return storage
