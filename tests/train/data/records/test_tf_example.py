"""tf.train.Example: the same as protobuf reads, and nothing but ValueError."""

import math
import random
import struct
import tracemalloc
from unittest import mock

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from support.imagenet import encode_example, field, varint
from tensorflow_datasets.proto import tf_example_pb2

from train.data.records import tf_example as example
from train.data.records.tf_example import parse_example

FLOATS = st.floats(width=32, allow_nan=False)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
FEATURES = st.dictionaries(
    st.text(max_size=8),
    st.one_of(
        st.lists(st.binary(max_size=40), max_size=4),
        st.lists(FLOATS, max_size=6),
        st.lists(INTEGERS, max_size=6),
    ),
    max_size=5,
)


def by_protobuf(data: bytes) -> dict[str, list]:
    read = tf_example_pb2.Example.FromString(data).features.feature
    features = {}
    for key, feature in read.items():
        kind = feature.WhichOneof("kind")
        features[key] = list(getattr(feature, kind).value) if kind else []
    return features


def same(one: dict[str, list], other: dict[str, list]) -> bool:
    # NaN is a value like any other here.
    return repr(sorted(one.items())) == repr(sorted(other.items()))


def test_bytes_written_by_hand():
    # {"a": int64 150}: 150 is the varint 96 01, as protobuf's own documents have it.
    data = bytes.fromhex("0a0d 0a0b 0a0161 1206 1a04 0a029601")
    assert parse_example(data) == {"a": [150]}


@settings(max_examples=200)
@given(features=FEATURES, packed=st.booleans())
def test_what_is_encoded_comes_back(features, packed):
    data = encode_example(features, packed=packed)
    assert parse_example(data) == features
    assert same(by_protobuf(data), features)


@settings(max_examples=100)
@given(features=FEATURES)
def test_what_protobuf_writes_is_read(features):
    message = tf_example_pb2.Example()
    for key, values in features.items():
        kinds = {bytes: "bytes_list", float: "float_list", int: "int64_list"}
        kind = kinds[type(values[0])] if values else "int64_list"
        getattr(message.features.feature[key], kind).value.extend(values)
    assert parse_example(message.SerializeToString()) == features


@settings(max_examples=300)
@given(data=st.binary(max_size=60))
def test_any_bytes_are_read_as_protobuf_does_or_refused(data):
    compare(data)


@settings(max_examples=300)
@given(features=FEATURES, seed=st.integers(0, 2**32), packed=st.booleans())
def test_damaged_messages_are_read_as_protobuf_does_or_refused(features, seed, packed):
    data = bytearray(encode_example(features, packed=packed))
    chance = random.Random(seed)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(data) + 1)
        data[at : at + chance.randint(0, 2)] = chance.randbytes(chance.randint(0, 2))
    compare(bytes(data))


def compare(data: bytes) -> None:
    """No other exception than ValueError, and never another meaning or count."""
    try:
        features = parse_example(data)
    except ValueError:
        return
    assert same(features, by_protobuf(data))
    count = len(features) + sum(map(len, features.values()))
    with mock.patch.object(example, "MAX_VALUES", count - 1):
        if count:
            with pytest.raises(ValueError, match="may hold"):
                parse_example(data)


DAMAGED = "must be a tf.train.Example: Error parsing message"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x0a", DAMAGED),  # the length is missing
        (b"\x0a\x05abc", DAMAGED),  # 5 bytes are cut off after 3
        (b"\x0a" + varint(2**63) + b"abc", DAMAGED),
        (b"\xff" * 11, DAMAGED),  # a number of more than 10 bytes
        (b"\x02\x00", DAMAGED),  # fields are numbered from 1
        (b"\x0b", DAMAGED),  # a group that does not end
        (b"\x0e\x00", DAMAGED),  # there is no wire type 6
        (field(1, field(1, field(1, b"\xff"))), DAMAGED),  # not UTF-8
        (field(1, field(1, field(3, b""))), "fields 1 and 2 alone: got 3"),
        # float32 take 4 bytes each
        (field(1, field(1, field(2, field(2, field(1, b"abc"))))), DAMAGED),
    ],
)
@pytest.mark.parametrize("most", [1 << 20, 1], ids=["short", "counted"])
def test_malformed_messages_are_refused(data, message, most, monkeypatch):
    monkeypatch.setattr(example, "MAX_VALUES", most)
    with pytest.raises(ValueError, match=message):
        parse_example(data)


def test_as_many_values_as_are_allowed_are_read(monkeypatch):
    features = {"a": [1, 300, -1], "b": [0.5, 2.0], "c": [b"", b"x"], "d": []}
    for packed in (False, True):
        data = encode_example(features, packed=packed)
        monkeypatch.setattr(example, "MAX_VALUES", 4 + 7)
        assert parse_example(data) == features
        monkeypatch.setattr(example, "MAX_VALUES", 4 + 6)
        with pytest.raises(ValueError, match="may hold 10 values: got more"):
            parse_example(data)


def test_unknown_fields_are_passed_over():
    unknown = varint(9 << 3) + varint(7) + varint(10 << 3 | 1) + bytes(8)
    unknown += field(11, b"later") + varint(12 << 3 | 5) + bytes(4)
    entry = field(1, b"a") + field(2, unknown + field(3, unknown + field(1, b"\x05")))
    data = unknown + field(1, unknown + field(1, entry))
    assert parse_example(data) == {"a": [5]} == by_protobuf(data)


def test_floats_keep_their_32_bits():
    data = encode_example({"f": [1.5, -0.0, math.inf, struct.unpack("<f", b"abcd")[0]]})
    assert same(parse_example(data), by_protobuf(data))


@pytest.mark.parametrize(
    "data",
    [
        field(1, field(1, field(2, field(3, field(1, bytes(200_000)))))),
        field(1, field(1, field(2, field(2, field(1, bytes(800_000)))))),
        field(1, field(1, field(2, field(1, field(1, b"") * 100_000)))),
        field(1, field(1, field(2, field(1, b"") * 100_000))),
        field(1, field(1, field(2, b"") * 100_000)),
        field(1, b"".join(field(1, field(1, b"%d" % i)) for i in range(50_000))),
    ],
    ids=["integers", "floats", "bytes", "lists", "features", "keys"],
)
def test_many_values_in_few_bytes_take_no_memory(data, monkeypatch):
    monkeypatch.setattr(example, "MAX_VALUES", 1000)
    tracemalloc.start()
    try:
        parse_example(data)
    except ValueError as error:
        assert "may hold" in str(error)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 250_000
