"""`read_pth` reads what training programs leave: all protocols, objects, averages."""

import argparse
import collections
import enum
import logging
import pathlib
import pickle
import pickletools

import numpy as np
import pytest
from interop.forge import as_legacy, as_zip, plain, state, tensor
from support.torch_file import torch_file

from prm_flax.interop.pth import read_contents
from prm_flax.interop.torch import read_pth

WEIGHTS = collections.OrderedDict(
    {
        "conv1.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
        "bn1.num_batches_tracked": np.array(7),
    }
)
AVERAGES = {name: np.asarray(array + 1) for name, array in WEIGHTS.items()}

protocols = pytest.mark.parametrize("protocol", [2, 3, 4, 5])
forms = pytest.mark.parametrize("form", ["legacy", "zip"])


class Color(enum.Enum):
    RED = 1


class Keyed:
    """Made with keywords, which takes an opcode of its own."""

    def __new__(cls, *, size):
        return super().__new__(cls)

    def __getnewargs_ex__(self):
        return (), {"size": 3}


class Node(dict):
    pass


LOOP: list = []
LOOP.append((LOOP, 1, 2, 3))
KNOT: list = []
KNOT.append((KNOT,))

# What stands beside the tensors in the files of the public programs, and worse.
BESIDE = {
    "epoch": 90,
    "best": 76.5,
    "arch": "resnet50",
    "none": None,
    "flag": True,
    "bytes": b"\0\xff",
    "long bytes": b"x" * 300,
    "array of bytes": bytearray(b"xyz"),
    "large": -(2**4000),
    "long text": "ä" * 300,
    "odd text": "caf\udce9",
    "args": argparse.Namespace(lr=0.1, data=pathlib.PurePosixPath("/data")),
    "counter": collections.Counter({30: 1, "a": 2, (1, 2): 3, 1.5: 4}),
    "default": collections.defaultdict(list, {"a": [1]}),
    "set": {1, 2, (3, "a")},
    "empty set": set(),
    "frozen": frozenset([1, (2, 3)]),
    "number": np.float64(0.5),
    "small number": np.float32(0.5),
    "array": [np.arange(3)],
    "color": Color.RED,
    "keyed": Keyed(size=3),
    "node": Node(a=1),
    "function": len,
    "class": collections.OrderedDict,
    "keys": {(1, 2): 3, None: 4, True: 5, 1.5: 6, b"b": 7, -(2**70): 8, "a": 9},
    "loop": LOOP[0],
    "knot": KNOT[0],
    3: "a number's value",
    (1, 2): "a pair's",
}


def equal(arrays, wanted):
    assert list(arrays) == list(wanted)
    for name, array in wanted.items():
        np.testing.assert_array_equal(arrays[name], array, strict=True)
    return True


@protocols
@forms
def test_every_protocol_is_read(write, protocol, form):
    content = torch_file(WEIGHTS, protocol, form)
    assert bytes([0x80, protocol]) in content
    assert equal(read_pth(write(content)), WEIGHTS)


@protocols
@forms
@pytest.mark.parametrize("name", BESIDE, ids=str)
def test_what_stands_beside_the_tensors_is_left_out(write, protocol, form, name):
    for content in ({name: BESIDE[name]} | WEIGHTS, WEIGHTS | {name: BESIDE[name]}):
        assert equal(read_pth(write(torch_file(content, protocol, form))), WEIGHTS)


@protocols
@forms
def test_what_stands_beside_the_state_dict_is_left_out(write, protocol, form):
    content = torch_file(BESIDE | {"state_dict": WEIGHTS | BESIDE}, protocol, form)
    assert equal(read_pth(write(content)), WEIGHTS)


def test_all_opcodes_of_these_protocols_that_python_writes_were_among_them():
    used: set[str] = set()
    for protocol in (2, 3, 4, 5):
        body = pickle.dumps([BESIDE, "x" * 70_000, 2**2100], protocol)
        used |= {opcode.name for opcode, *_ in pickletools.genops(body)}
    assert {"FRAME", "MEMOIZE", "SHORT_BINUNICODE", "STACK_GLOBAL", "LONG4"} <= used
    assert {"SHORT_BINBYTES", "BINBYTES", "BYTEARRAY8", "BINUNICODE"} <= used
    assert {"EMPTY_SET", "ADDITEMS", "FROZENSET", "NEWOBJ", "NEWOBJ_EX"} <= used
    assert {"POP", "POP_MARK", "LONG1", "BINGET", "GLOBAL", "REDUCE"} <= used


@pytest.mark.parametrize(
    "code",
    [
        b"\x8d" + (3).to_bytes(8, "little") + b"abc",  # text with a long length
        b"\x8e" + (3).to_bytes(8, "little") + b"abc",  # bytes with one
        b"K\0002\x86",  # a pair of a number and itself
        b"(K\0K\0001",  # dropped to the mark, and replaced
    ],
    ids=["BINUNICODE8", "BINBYTES8", "DUP", "POP_MARK"],
)
def test_opcodes_that_only_huge_or_knotted_objects_need(write, code):
    code = code + b"N" if code.endswith(b"1") else code
    arrays = read_pth(write(as_zip(state(beside=code, w=tensor()))))
    assert list(arrays) == ["w"]


def test_nothing_is_imported_or_run(write, tmp_path):
    witness = tmp_path / "witness"

    class Attack:
        def __reduce__(self):
            return pathlib.Path.touch, (witness,)

    for protocol in (2, 4):
        weights = WEIGHTS | {"attack": Attack()}
        assert equal(read_pth(write(torch_file(weights, protocol))), WEIGHTS)
    body = state(attack=b"cno.such.module\nf\n)R", w=tensor())
    assert list(read_pth(write(as_zip(body)))) == ["w"]
    assert not witness.exists()


@pytest.mark.parametrize("module", ["numpy.core", "numpy._core"])
def test_numpy_s_numbers_are_left_out_even_under_a_weight_s_name(write, module):
    name = f"c{module}.multiarray\nscalar\n".encode()
    body = {"best.top1": name + plain((None, "text")) + b"R", "w": tensor()}
    assert list(read_pth(write(as_zip(state(**body))))) == ["w"]


@protocols
@pytest.mark.parametrize(
    "value, kind",
    [
        (argparse.Namespace(a=1), "the Python object 'argparse.Namespace'"),
        ({1, 2}, r"the Python object .*\.set"),
        ([1.0], "a list"),
        ({}, "an empty dictionary"),
    ],
    ids=["Namespace", "set", "list", "dict"],
)
def test_an_object_in_the_place_of_a_weight_is_an_error(write, protocol, value, kind):
    content = torch_file(WEIGHTS | {"fc.weight": value}, protocol)
    with pytest.raises(ValueError, match=rf"also 'fc\.weight' \({kind}.*state_dict"):
        read_pth(write(content))


def test_a_tensor_of_a_dtype_that_numpy_lacks(write):
    odd = tensor(
        b"("
        + plain("storage")
        + b"ctorch\nQInt8Storage\n"
        + plain("9")
        + plain("cpu")
        + plain(6)
        + b"tQ"
    )
    assert list(read_pth(write(as_zip(state(odd=odd, w=tensor()))))) == ["w"]
    with pytest.raises(ValueError, match=r"'fc\.bias' \(the.*torch\.QInt8Storage"):
        read_pth(write(as_zip(state(**{"fc.bias": odd, "w": tensor()}))))


def test_a_dictionary_of_python_2_is_read_once(write):
    items = b"](" + b"](" + plain("w") + tensor() + b"ee" + b"q\7"
    name = b"ccollections\nOrderedDict\n"
    again = name + b"h\7\x85R"
    body = b"\x80\x02}(" + plain("state_dict") + name + items + b"\x85R"
    body += plain("twice") + again + b"u."
    assert list(read_pth(write(as_legacy(body)))) == ["w"]


class TestAverages:
    RAW = ("state_dict", "model_state_dict", "model")
    AVERAGED = (
        "state_dict_ema",
        "ema_state_dict",
        "model_ema",
        "ema_model",
        "model_ema_state_dict",
        "ema",
    )

    @pytest.mark.parametrize("raw", RAW)
    @pytest.mark.parametrize("averaged", AVERAGED)
    def test_either_is_read_and_the_log_says_which(self, write, caplog, raw, averaged):
        path = write(torch_file({averaged: AVERAGES, "epoch": 3, raw: WEIGHTS}))
        assert equal(read_pth(path), WEIGHTS)
        assert equal(read_pth(path, average=True), AVERAGES)
        first, second = (record.getMessage() for record in caplog.records)
        assert first == (
            f"{path}: the raw weights ({raw}) are read, not the averaged ones "
            f"({averaged}); average=True takes those."
        )
        assert second == (
            f"{path}: the averaged weights ({averaged}) are read, not the raw ones "
            f"({raw}); average=False takes those."
        )
        assert {record.levelno for record in caplog.records} == {logging.WARNING}

    def test_beside_the_tensors_themselves(self, write):
        path = write(torch_file(WEIGHTS | {"model_ema": AVERAGES}))
        assert equal(read_pth(path), WEIGHTS)
        contents = read_contents(path, average=True)
        assert equal(contents.arrays, AVERAGES)
        assert (contents.entry, contents.other) == ("model_ema", "the file")

    @pytest.mark.parametrize("inner", ["module", "state_dict", "shadow"])
    def test_one_dictionary_deeper(self, write, inner):
        ema = {"updates": 3, "decay": 0.99, inner: AVERAGES}
        path = write(torch_file({"model": WEIGHTS, "ema": ema}))
        assert equal(read_pth(path, average=True), AVERAGES)

    def test_a_file_of_one_kind_says_nothing(self, write, caplog):
        for content in (WEIGHTS, {"model": WEIGHTS, "model_ema": None}):
            assert equal(read_pth(write(torch_file(content))), WEIGHTS)
        assert caplog.records == []

    def test_there_is_no_average(self, write):
        for content in (WEIGHTS, {"model": WEIGHTS, "epoch": 1}):
            path = write(torch_file(content))
            with pytest.raises(ValueError, match=r"but raw weights .* Take the raw"):
                read_pth(path, average=True)

    def test_there_is_nothing_but_the_average(self, write):
        path = write(torch_file({"model_ema": AVERAGES, "epoch": 1}))
        assert equal(read_pth(path, average=True), AVERAGES)
        with pytest.raises(ValueError, match=r"but averaged weights \(model_ema\)"):
            read_pth(path)
