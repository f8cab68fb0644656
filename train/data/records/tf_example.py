"""The tf.train.Example message, read by protobuf.

An Example is a map from names to lists of bytes, float32 or int64:

    Example {Features 1}              entry {string key 1, Feature 2}
    Features {repeated entry 1}       Feature {one list: bytes 1, float 2, int64 3}

The descriptor is made here, so that nothing of tensorflow is needed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from train.data.digest import digest
from train.data.records.base import Record, Shards, check_size

# A value of one byte becomes a Python object of 32, and a message of two becomes 54 in
# protobuf: without a limit, a record of 64 MiB would take gigabytes.
MAX_VALUES = 1 << 20

_Field = descriptor_pb2.FieldDescriptorProto
_FLOATS, _INTEGERS = 2, 3
# How a field is written, and the bytes of those that have no length.
_VARINT, _LENGTH = 0, 2
_WIDTHS = {1: 8, 5: 4}
_EMPTY = memoryview(b"")
# Message -> its fields, numbered from 1: name, type or message, whether repeated. A map
# is its entries, as on the wire: of a map it would not show which fields they have.
_MESSAGES = {
    "BytesList": [("value", _Field.TYPE_BYTES, True)],
    "FloatList": [("value", _Field.TYPE_FLOAT, True)],
    "Int64List": [("value", _Field.TYPE_INT64, True)],
    "Feature": [
        ("bytes_list", "BytesList", False),
        ("float_list", "FloatList", False),
        ("int64_list", "Int64List", False),
    ],
    "Entry": [("key", _Field.TYPE_STRING, False), ("value", "Feature", False)],
    "Features": [("feature", "Entry", True)],
    "Example": [("features", "Features", False)],
}
_PACKAGE = "prm_flax"


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


def _example_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="tf_example.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind, repeated) in enumerate(fields, 1):
            label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            made = message.field.add(name=field, number=number, label=label)
            if isinstance(kind, str):
                made.type, made.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            else:
                made.type = kind
            if name == "Feature":
                made.oneof_index = 0
        if name == "Feature":
            message.oneof_decl.add(name="kind")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName(f"{_PACKAGE}.Example")
    )


_Example = _example_class()


def parse_example(data: bytes) -> dict[str, list]:
    """Read an Example.

    Args:
        data: the serialized message.

    Returns:
        For each feature its values: bytes, float or int.

    Raises:
        ValueError: the bytes are no such message, or hold more than `MAX_VALUES`.
    """
    # Each value takes a byte or more, so that most records need not be looked through.
    if len(data) > MAX_VALUES:
        _check_count(memoryview(data))
    try:
        example = _Example.FromString(data)
    except DecodeError as error:
        raise ValueError(f"the bytes must be a tf.train.Example: {error}") from None
    return dict(map(_named_values, example.features.feature))


def _named_values(entry: Any) -> tuple[str, list]:
    # Implementations of protobuf differ in what becomes of such an entry.
    for other in UnknownFieldSet(entry):
        raise ValueError(
            f"an entry has the fields 1 and 2 alone: got {other.field_number}"
        )
    kind = entry.value.WhichOneof("kind")
    return entry.key, list(getattr(entry.value, kind).value) if kind else []


def _check_count(data: memoryview) -> None:
    """Raises ValueError for too many values, before memory is taken for them."""
    count = 0
    for features in _contents(data, 1):
        for entry in _contents(features, 1):
            count = _limited(count + 1)
            for feature in _contents(entry, 2):
                for kind, values in _fields(feature):
                    for more in _counts(kind, values):
                        count = _limited(count + more)


def _counts(kind: int, values: memoryview) -> Iterator[int]:
    """How many values each field of a list has."""
    for _, packed in _fields(values):
        if kind == _INTEGERS and packed:
            yield int(np.count_nonzero(np.frombuffer(packed, np.uint8) < 0x80))
        else:
            yield len(packed) // 4 if kind == _FLOATS and packed else 1


def _contents(message: memoryview, wanted: int) -> Iterator[memoryview]:
    return (content for number, content in _fields(message) if number == wanted)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and content of the fields, of numbers b""; no more where one is damaged.

    https://protobuf.dev/programming-guides/encoding says how they are written. What is
    wrong with them is for protobuf to say.
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        wire, start = key & 7, at
        if wire == _VARINT:
            _, at = _varint(message, at)
        elif wire == _LENGTH:
            length, start = _varint(message, at)
            at = start + length
        else:
            at += _WIDTHS.get(wire, 0)
        if at > len(message):
            return
        yield key >> 3, message[start:at] if wire == _LENGTH else _EMPTY


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number and where it ends: beyond the message if it is cut off or too long."""
    value = 0
    for place, byte in enumerate(message[at : at + 10]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    return value, len(message) + 1


def _limited(count: int) -> int:
    if count > MAX_VALUES:
        raise ValueError(f"an Example may hold {MAX_VALUES:,} values: got more")
    return count
