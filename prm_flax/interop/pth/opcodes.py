"""The opcodes PyTorch's files are made of, and the loop that obeys them.

Reference: the documentation in Python's `pickletools`.
"""

import pickle
import struct
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, NamedTuple

from prm_flax.interop.pth.machine import Machine
from prm_flax.interop.pth.records import Global, Storage

SET, FROZENSET = Global("builtins", "set"), Global("builtins", "frozenset")


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


def _text(layout: str, errors: str = "surrogatepass") -> Callable[[Machine], None]:
    return _push(lambda m: m.take(m.number(layout)).decode(errors=errors))


def _bytes(layout: str) -> Callable[[Machine], None]:
    return _push(lambda m: m.take(m.number(layout)))


def _long(layout: str) -> Callable[[Machine], None]:
    def make(machine: Machine) -> int:
        number = machine.take(machine.number(layout))
        return int.from_bytes(number, "little", signed=True)

    return _push(make)


def _frozenset(machine: Machine) -> Global:
    machine.pop_mark()
    return FROZENSET


OPCODES: MappingProxyType[bytes, Callable[[Machine], object]] = MappingProxyType(
    {
        pickle.PROTO: Machine.protocol,
        pickle.FRAME: lambda m: m.number("<Q"),
        pickle.NONE: _push(lambda m: None),
        pickle.NEWTRUE: _push(lambda m: True),
        pickle.NEWFALSE: _push(lambda m: False),
        pickle.BININT: _push(lambda m: m.number("<i")),
        pickle.BININT1: _push(lambda m: m.number("<B")),
        pickle.BININT2: _push(lambda m: m.number("<H")),
        pickle.LONG1: _long("<B"),
        pickle.LONG4: _long("<i"),
        pickle.BINFLOAT: _push(lambda m: m.number(">d")),
        pickle.SHORT_BINUNICODE: _text("<B"),
        pickle.BINUNICODE: _text("<I"),
        pickle.BINUNICODE8: _text("<Q"),
        pickle.SHORT_BINBYTES: _bytes("<B"),
        pickle.BINBYTES: _bytes("<I"),
        pickle.BINBYTES8: _bytes("<Q"),
        pickle.BYTEARRAY8: _bytes("<Q"),
        # These two are Python 2's.
        pickle.SHORT_BINSTRING: _text("<B", "strict"),
        pickle.BINSTRING: _text("<i", "strict"),
        pickle.MARK: Machine.mark,
        pickle.POP: Machine.drop,
        pickle.POP_MARK: lambda m: m.pop_mark(),
        pickle.DUP: _push(lambda m: m.stack[-1]),
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
        pickle.EMPTY_SET: _push(lambda m: SET),
        pickle.ADDITEMS: lambda m: m.add(m.pop_mark()),
        pickle.FROZENSET: _push(_frozenset),
        pickle.MEMOIZE: lambda m: m.put(len(m.memo)),
        pickle.BINPUT: lambda m: m.put(m.number("<B")),
        pickle.LONG_BINPUT: lambda m: m.put(m.number("<I")),
        pickle.BINGET: _push(lambda m: m.memo[m.number("<B")]),
        pickle.LONG_BINGET: _push(lambda m: m.memo[m.number("<I")]),
        pickle.GLOBAL: _push(lambda m: m.find(m.line(), m.line())),
        pickle.STACK_GLOBAL: _push(lambda m: m.find(*m.pop(2))),
        pickle.REDUCE: _push(Machine.call),
        pickle.NEWOBJ: _push(Machine.call),  # a call, too, of what is in the table
        pickle.NEWOBJ_EX: _push(Machine.call_with_keywords),
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
        Plain values, with `Tensor` records where the file has tensors, and the name
        of its class where it has any other object.

    Raises:
        ValueError: the pickle is damaged or cut off.

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
