"""The tf.train.Example message, read by hand from protobuf's wire format.

An Example is a map from names to lists of bytes, float32 or int64:

    Example {Features 1}              entry {string key 1, Feature 2}
    Features {repeated entry 1}       Feature {one list: bytes 1, float 2, int64 3}
    a list {repeated value 1}, numbers packed into one field or in one field each

https://protobuf.dev/programming-guides/encoding says how fields are written.
"""

import struct
from collections.abc import Callable, Iterator

# A number of one byte becomes a Python object of 32: without a limit, a record of
# 64 MiB would take gigabytes.
MAX_VALUES = 1 << 20

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}
_Field = tuple[int, int, int, memoryview]
_EMPTY = memoryview(b"")


def parse_example(data: bytes) -> dict[str, list]:
    """Read an Example.

    Args:
        data: the serialized message.

    Returns:
        For each feature its values: bytes, float or int.

    Raises:
        ValueError: the bytes are no such message, or hold more than `MAX_VALUES`.
    """
    features: dict[str, list] = {}
    count = 0
    for message in _messages(memoryview(data), 1):
        for entry in _messages(message, 1):
            key, values = _entry(entry)
            features[key] = values
            count = _limited(count + 1 + len(values))
    return features


def _entry(entry: memoryview) -> tuple[str, list]:
    key, kind, values = "", 0, []
    for number, wire, _, content in _fields(entry):
        if (number, wire) == (1, _BYTES):
            key = bytes(content).decode()
        elif (number, wire) == (2, _BYTES):
            kind, values = _merge(content, kind, values)
        else:
            # Implementations of protobuf differ in what becomes of such an entry.
            raise ValueError(f"an entry has the fields 1 and 2 alone: got {number}")
    return key, values


def _merge(feature: memoryview, kind: int, values: list) -> tuple[int, list]:
    for number, wire, _, content in _fields(feature):
        if wire != _BYTES or number not in _READERS:
            continue
        # One of three kinds: as protobuf has it, the last one written counts.
        if number != kind:
            kind, values = number, []
        for value in _READERS[number](content):
            values.append(value)
            _limited(len(values))
    return kind, values


def _bytes_list(message: memoryview) -> Iterator[bytes]:
    return map(bytes, _messages(message, 1))


def _float_list(message: memoryview) -> Iterator[float]:
    for number, wire, _, content in _fields(message):
        if number == 1 and wire in (_FIXED32, _BYTES):
            if len(content) % 4:
                raise ValueError(f"float32 take 4 bytes each: got {len(content)} bytes")
            for (value,) in struct.iter_unpack("<f", content):
                yield value


def _int64_list(message: memoryview) -> Iterator[int]:
    for number, wire, value, content in _fields(message):
        if (number, wire) == (1, _VARINT):
            yield _signed(value)
        elif (number, wire) == (1, _BYTES):
            at = 0
            while at < len(content):
                value, at = _varint(content, at)
                yield _signed(value)


_READERS: dict[int, Callable[[memoryview], Iterator]] = {
    1: _bytes_list,
    2: _float_list,
    3: _int64_list,
}


def _messages(message: memoryview, wanted: int) -> Iterator[memoryview]:
    for number, wire, _, content in _fields(message):
        if (number, wire) == (wanted, _BYTES):
            yield content


def _fields(message: memoryview) -> Iterator[_Field]:
    """Walk through the fields: number, wire type, value if varint, content if not."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if not 0 < number < 1 << 29:
            raise ValueError(f"fields are numbered from 1 to 2**29 - 1: got {number}")
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, wire, value, _EMPTY
            continue
        length = _WIDTHS.get(wire)
        if wire == _BYTES:
            length, at = _varint(message, at)
        if length is None:
            raise ValueError(f"fields have the wire types 0, 1, 2 or 5: got {wire}")
        if length > len(message) - at:
            raise ValueError(
                f"a field of {length} bytes is cut off after {len(message) - at}"
            )
        yield number, wire, 0, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for place in range(10):
        if at + place >= len(message):
            raise ValueError("a number is cut off at the end of its message")
        byte = message[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at + place + 1
    raise ValueError("a number takes more than 10 bytes")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _limited(count: int) -> int:
    if count > MAX_VALUES:
        raise ValueError(f"an Example may hold {MAX_VALUES:,} values: got more")
    return count
