"""A pickle machine that builds plain data and descriptions of tensors, nothing else.

Python's own `pickle` runs whatever a file names. This machine looks names up in `CALLS`
and `DTYPES`; of everything else it keeps the name. It imports nothing for a file, and
needs memory in proportion to the pickle, which is capped. `opcodes.py` says which
opcode does what.
"""

import struct
from typing import Any

from prm_flax.interop.pth.records import CALLS, DTYPES, Global, Storage, add_item

# A MobileNetV2's state dict has 0.05 MiB of pickle. One byte can become an object of 80
# bytes and its place in a list, so this bounds the memory at some 400 MiB. All pickles
# of a file together have to end before it.
MAX_PICKLE_BYTES = 4 << 20
PROTOCOLS = range(2, 6)
# Of a module or a class: names may not be made longer than the file, by repeating them.
MAX_NAME = 300
# Of a call: a tuple may be named again and again, and would be copied each time.
MAX_ARGUMENTS = 8


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
        self.end = min(len(data), MAX_PICKLE_BYTES)
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

    def drop(self) -> None:
        """Forgets the uppermost object, or a mark with nothing above it."""
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

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
        if (version := self.number("B")) not in PROTOCOLS:
            raise ValueError(
                f"pickle protocols 2 to 5 are read, this one is {version}."
            )

    def set_items(self, items: list[Any]) -> None:
        """Adds keys and values, in turns, to the dictionary on the stack."""
        if len(items) % 2:
            raise TypeError("a key without a value")
        if type(self.stack[-1]) is Global:
            return
        for key, value in zip(items[::2], items[1::2], strict=True):
            add_item(self.stack[-1], key, value)

    def append(self, items: list[Any]) -> None:
        """Lengthens the list on the stack."""
        self._expect(list)
        if type(self.stack[-1]) is list:
            self.stack[-1].extend(items)

    def add(self, _items: list[Any]) -> None:
        """Leaves out what a set has: to put it in would be to hash it."""
        self._expect(set)

    def find(self, module: Any, name: Any) -> Global:
        """The name of a Python object, which is never looked for."""
        if type(module) is not str or type(name) is not str:
            raise TypeError("a Python object is named by two strings")
        if max(len(module), len(name)) > MAX_NAME:
            raise TypeError(f"a name of a Python object has over {MAX_NAME} characters")
        return Global(module, name)

    def call(self) -> Any:
        """Applies what `find` gave to the tuple above it.

        What is not in the table of calls stays a name; so does a tensor of it.
        """
        function, arguments = self.pop(2)
        if type(function) is not Global or type(arguments) is not tuple:
            raise TypeError("a call of something that is no name")
        if str(function) in DTYPES:
            raise TypeError("a call of a type of storage")
        if str(function) not in CALLS:
            return function
        if len(arguments) > MAX_ARGUMENTS:
            raise TypeError(f"a call with more than {MAX_ARGUMENTS} arguments")
        if arguments and type(arguments[0]) is Global:
            return arguments[0]
        return CALLS[str(function)](*arguments)

    def call_with_keywords(self) -> Any:
        """`call`, of classes that are made with keywords: none in the table are."""
        if type(self.stack.pop()) is not dict:
            raise TypeError("keywords that are no dictionary")
        return self.call()

    def build(self) -> None:
        """Drops the attributes of a state dict, its modules' versions, or an object."""
        self.stack.pop()
        self._expect(dict)

    def storage(self) -> Storage | Global:
        """Describes the storage whose identification is on the stack."""
        identity = self.stack.pop()
        if type(identity) is not tuple or type(identity[1]) is not Global:
            raise TypeError("a storage must be identified by a tuple and a type")
        kind, dtype, key, _location, size, *view = identity
        if kind != "storage" or view not in ([], [None]):
            raise ValueError("it has a storage in a form PyTorch no longer writes.")
        if str(dtype) not in DTYPES:
            return dtype
        storage = Storage(key, DTYPES[str(dtype)], size)
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError(f"storage {key[:100]!r} is described in two ways.")
        return storage

    def _expect(self, kind: type) -> None:
        """Raises unless the uppermost object is of a kind, or but a name."""
        if type(self.stack[-1]) not in (kind, Global):
            raise TypeError(f"more for something that is no {kind.__name__}")
