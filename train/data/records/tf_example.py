"""The tf.train.Example message, read by hand from protobuf's wire format.

An Example is a map from names to lists of bytes, float32 or int64:

    Example {Features 1}              entry {string key 1, Feature 2}
    Features {repeated entry 1}       Feature {one list: bytes 1, float 2, int64 3}
    a list {repeated value 1}, numbers packed into one field or in one field each

https://protobuf.dev/programming-guides/encoding says how fields are written.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from train.data.digest import digest
from train.data.records.base import Record, Shards, check_size


@dataclass(frozen=True, eq=False)
class ExampleRecords:
    """Records with the features image, label and, where there is one, file_name.

    Attributes:
        shards: the messages.
        class_names: the name of each class, in the order of the labels.
        max_bytes: of an image file.
    """

    shards: Shards
    class_names: tuple[str, ...]
    max_bytes: int

    @property
    def digest(self) -> str:
        """Of the files' index."""
        return digest(self.shards.index_parts())

    def __len__(self) -> int:
        """Number of images."""
        return len(self.shards)

    def __getitem__(self, index: int) -> Record:
        """Read one image, as `Records` says.

        Args:
            index: from 0 to `len` - 1, in the order of the files.

        Returns:
            The image with its label.

        Raises:
            BadImage: this one image is damaged, unreadable or too large.
            IndexError: there is no such image.
            ValueError: the message is whole and not what it should be, or the label
                has no class name.
        """
        message = self.shards.read(index)
        try:
            record = self._record(message, index)
        except ValueError as error:
            raise ValueError(f"{self.name(index)}: {error}") from error
        check_size(len(record.data), self.max_bytes)
        return record

    def name(self, index: int) -> str:
        """Say where an image lies, for messages, however damaged it is.

        Args:
            index: as in `__getitem__`.

        Returns:
            The file of messages and the place there, after the image file's name where
            that can be read.
        """
        place = self.shards.place(index)
        try:
            features = parse_example(self.shards.read(index))
            return f"{_text(_one(features, 'file_name', bytes))} ({place})"
        except (OSError, ValueError):
            return place

    def _record(self, message: bytes, index: int) -> Record:
        features = parse_example(message)
        image, label = _one(features, "image", bytes), _one(features, "label", int)
        if not 0 <= label < len(self.class_names):
            raise ValueError(
                f"labels must lie in 0..{len(self.class_names) - 1}, one for each "
                f"class name: got {label}; is it a split without labels?"
            )
        if "file_name" not in features:
            return Record(image, label, self.shards.place(index))
        return Record(image, label, _text(_one(features, "file_name", bytes)))


def _one(features: dict[str, list], key: str, kind: type) -> Any:
    values = features.get(key, [])
    if len(values) != 1 or not isinstance(values[0], kind):
        raise ValueError(
            f"the feature {key!r} must be one {kind.__name__}: got {len(values)} "
            f"values; this record has the features {', '.join(sorted(features))}"
        )
    return values[0]


def _text(name: bytes) -> str:
    # Whatever the bytes are, a message with them can be printed.
    return name.decode("utf-8", "backslashreplace")


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
