"""The opcodes PyTorch's files are made of, and the loop that obeys them.

Reference: the documentation in Python's `pickletools`.
"""

import pickle
import struct
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, NamedTuple

from prm_flax.interop.pth.machine import Machine
from prm_flax.interop.pth.records import Storage


class Loaded(NamedTuple):
    """What a pickle held, the byte after it, and the storages it named, by key."""

    value: Any
    end: int
    storages: dict[str, Storage]


def _push(make: Callable[[Machine], Any]) -> Callable[[Machine], None]:
    def push(machine: Machine) -> None:
        value = make(machine)  # first: a mark changes which stack is appended to
        machine.stack.append(value)

    return push


def _text(layout: str) -> Callable[[Machine], None]:
    return _push(lambda m: m.take(m.number(layout)).decode())


def _long(machine: Machine) -> int:
    return int.from_bytes(machine.take(machine.number("B")), "little", signed=True)


OPCODES: MappingProxyType[bytes, Callable[[Machine], None]] = MappingProxyType(
    {
        pickle.PROTO: Machine.protocol,
        pickle.NONE: _push(lambda m: None),
        pickle.NEWTRUE: _push(lambda m: True),
        pickle.NEWFALSE: _push(lambda m: False),
        pickle.BININT: _push(lambda m: m.number("<i")),
        pickle.BININT1: _push(lambda m: m.number("<B")),
        pickle.BININT2: _push(lambda m: m.number("<H")),
        pickle.LONG1: _push(_long),
        pickle.BINFLOAT: _push(lambda m: m.number(">d")),
        pickle.BINUNICODE: _text("<I"),
        pickle.SHORT_BINSTRING: _text("<B"),  # this and the next: from Python 2
        pickle.BINSTRING: _text("<i"),
        pickle.MARK: Machine.mark,
        pickle.EMPTY_TUPLE: _push(lambda m: ()),
        pickle.TUPLE1: _push(lambda m: m.pop(1)),
        pickle.TUPLE2: _push(lambda m: m.pop(2)),
        pickle.TUPLE3: _push(lambda m: m.pop(3)),
        pickle.TUPLE: _push(lambda m: tuple(m.pop_mark())),
        pickle.EMPTY_LIST: _push(lambda m: []),
        pickle.APPEND: lambda m: m.append([m.stack.pop()]),
        pickle.APPENDS: lambda m: m.append(m.pop_mark()),
        pickle.EMPTY_DICT: _push(lambda m: {}),
        pickle.SETITEM: lambda m: m.set_items(list(m.pop(2))),
        pickle.SETITEMS: lambda m: m.set_items(m.pop_mark()),
        pickle.BINPUT: lambda m: m.put(m.number("<B")),
        pickle.LONG_BINPUT: lambda m: m.put(m.number("<I")),
        pickle.BINGET: _push(lambda m: m.memo[m.number("<B")]),
        pickle.LONG_BINGET: _push(lambda m: m.memo[m.number("<I")]),
        pickle.GLOBAL: _push(Machine.find),
        pickle.REDUCE: _push(Machine.call),
        pickle.BUILD: Machine.build,
        pickle.BINPERSID: _push(Machine.storage),
    }
)
_DAMAGE = (IndexError, KeyError, TypeError, UnicodeDecodeError, struct.error)


def load(data: bytes, position: int = 0) -> Loaded:
    """Reads the pickle that begins at a byte of a file.

    Args:
        data: the file.
        position: the pickle's first byte.

    Returns:
        Plain values, with `Tensor` records where the file has tensors.

    Raises:
        ValueError: the pickle is damaged, cut off, or asks for something else.

    Example:
        >>> import pickle
        >>> from prm_flax.interop.pth.opcodes import load
        >>> load(pickle.dumps({"epoch": 90}, protocol=2)).value
        {'epoch': 90}
    """
    machine = Machine(data, position)
    try:
        while (opcode := machine.take(1)) != pickle.STOP:
            if opcode not in OPCODES:
                raise ValueError(
                    f"PyTorch writes no opcode {opcode!r} (byte {machine.position - 1})"
                    ": the file is damaged, or another program wrote it."
                )
            OPCODES[opcode](machine)
        return Loaded(machine.stack.pop(), machine.position, machine.storages)
    except _DAMAGE as error:
        raise ValueError(
            f"the pickle is damaged before byte {machine.position}: {error}."
        ) from error
