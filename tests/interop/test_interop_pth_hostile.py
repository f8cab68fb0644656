"""`read_pth` meets forged files: ValueError, nothing run, little memory."""

import io
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from interop.forge import NUMBERS, as_legacy, as_zip, plain, state, storage, tensor

from prm_flax.interop.pth import machine
from prm_flax.interop.torch import read_pth

DATA = Path(__file__).parent / "data"
both = pytest.mark.parametrize("wrap", [as_legacy, as_zip])


@both
def test_an_honest_file_made_by_hand_is_read(wrap, write):
    arrays = read_pth(write(wrap(state(w=tensor(), b=tensor(shape=(), strides=())))))
    np.testing.assert_array_equal(arrays["w"], [[0, 1, 2], [3, 4, 5]])
    assert arrays["b"] == 0


@both
@pytest.mark.parametrize(
    "name",
    ["posix system", "builtins eval", "torch load", "numpy ndarray", "os system"],
)
def test_a_python_object_is_refused_by_name_and_never_run(wrap, write, name):
    witness = write(b"").parent / "witness"
    module, function = name.split()
    call = f"c{module}\n{function}\n".encode() + plain((f"touch {witness}",)) + b"R"
    with pytest.raises(ValueError, match=rf"'{module}\.{function}'.*state_dict\(\)"):
        read_pth(write(wrap(state(w=call))))
    assert not witness.exists()


def test_a_whole_model_is_refused_with_the_class_it_asks_for():
    with pytest.raises(ValueError, match=r"whole_model_zip\.pth.*activation\.ReLU"):
        read_pth(DATA / "whole_model_zip.pth")


@both
@pytest.mark.parametrize(
    "size", [2**40, -1, 5, 7], ids=["terabyte", "negative", "less", "more"]
)
def test_a_storage_has_the_size_the_file_has(wrap, write, size):
    with pytest.raises(ValueError, match=r"storage|damaged"):
        read_pth(write(wrap(state(w=tensor(storage(size=size))))))


@pytest.mark.parametrize("count", [2**40, 2**62, -1, 5])
def test_a_legacy_count_is_held_against_the_file(write, count):
    body = state(w=tensor(storage(size=max(count, 0))))
    with pytest.raises(ValueError, match="storage '0'"):
        read_pth(write(as_legacy(body, count=count)))


@both
@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (2, 3), (4, 1)),
        (1, (2, 3), (3, 1)),
        (6, (), ()),
        (2**62, (1,), (1,)),
        (0, (2,), (2**62,)),
        (0, (2**40,), (1,)),
    ],
)
def test_a_tensor_stays_within_its_storage(wrap, write, offset, shape, strides):
    body = state(w=tensor(offset=offset, shape=shape, strides=strides))
    with pytest.raises(ValueError, match=r"tensor 'w' reaches|unfold to"):
        read_pth(write(wrap(body)))


@both
@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (-1, (1,), (1,)),
        (0, (2,), (-1,)),
        (0, (-2,), (1,)),
        (0, (2, 3), (3,)),
        (0, [6], [1]),
        (True, (1,), (1,)),
        (0, (1,) * 80, (1,) * 80),
        (0, (2**63,), (1,)),
    ],
)
def test_what_no_tensor_has_is_refused(wrap, write, offset, shape, strides):
    body = state(w=tensor(offset=offset, shape=shape, strides=strides))
    with pytest.raises(ValueError, match="damaged"):
        read_pth(write(wrap(body)))


@both
@pytest.mark.parametrize("views", [1, 400])
def test_views_of_one_number_cannot_unfold_to_much_memory(wrap, write, views):
    view = tensor(shape=(10**6 // views,), strides=(0,))
    with pytest.raises(ValueError, match="unfold to"):
        read_pth(write(wrap(state(**{f"w{i}": view for i in range(views)}))))


@both
def test_a_huge_axis_of_length_one_or_without_numbers_is_no_claim(wrap, write):
    one = tensor(shape=(1, 6), strides=(2**62, 1))
    none = tensor(shape=(0, 5), strides=(2**62, 2**62))
    arrays = read_pth(write(wrap(state(one=one, none=none))))
    assert arrays["one"].shape == (1, 6)
    assert arrays["none"].shape == (0, 5)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(write):
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("root/data.pkl", state(w=tensor(storage(size=10**7 // 4))))
        archive.writestr("root/data/0", bytes(10**7))
    assert len(bomb.getvalue()) < 20_000
    with pytest.raises(ValueError, match="compressed"):
        read_pth(write(bomb.getvalue()))


def test_entries_together_are_no_larger_than_the_file(write):
    content = as_zip(state(w=tensor()))
    sizes = struct.pack("<LL", len(NUMBERS), len(NUMBERS))  # compressed, uncompressed
    large = struct.pack("<LL", 10**9, 10**9)
    with pytest.raises(ValueError, match="claim more bytes"):
        read_pth(write(content.replace(sizes, large)))


def test_changed_numbers_in_a_zip_are_noticed(write):
    content = as_zip(state(w=tensor()))
    with pytest.raises(ValueError, match="CRC"):
        read_pth(write(content.replace(NUMBERS, bytes(24))))


def test_a_zip_without_the_storage_or_without_a_pickle(write):
    with pytest.raises(ValueError, match=r"damaged.*data/7"):
        read_pth(write(as_zip(state(w=tensor(storage(key="7"))))))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "no weights")
    with pytest.raises(ValueError, match=r"one ROOT/data\.pkl"):
        read_pth(write(file.getvalue()))


def test_a_legacy_file_without_the_storage(write):
    with pytest.raises(ValueError, match="lacks storage '0'"):
        read_pth(write(as_legacy(state(w=tensor()), keys=())))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (as_zip(state(w=tensor()), byteorder="big"), "big-endian"),
        (as_legacy(state(w=tensor()), system={"little_endian": False}), "big-endian"),
        (as_legacy(state(w=tensor()), system=[]), "kind of machine"),
        (as_legacy(state(w=tensor()), version=1002), "of version 1001 is read"),
    ],
)
def test_files_of_other_machines_and_versions_are_refused(write, content, reason):
    with pytest.raises(ValueError, match=reason):
        read_pth(write(content))


@both
def test_one_storage_is_not_of_two_types(wrap, write):
    halves = tensor(storage(kind="HalfStorage"))
    with pytest.raises(ValueError, match="two ways"):
        read_pth(write(wrap(state(w=tensor(), v=halves))))


@both
def test_views_of_storages_as_old_pytorch_wrote_them_are_refused(wrap, write):
    old = storage(more=plain(("1", 0, 3)))
    with pytest.raises(ValueError, match="no longer writes"):
        read_pth(write(wrap(state(w=tensor(old)))))


@both
def test_a_byte_beyond_one_is_true(wrap, write):
    flags = tensor(storage(size=6, kind="BoolStorage"), shape=(6,), strides=(1,))
    array = read_pth(write(wrap(state(w=flags), numbers=b"\0\1\2\xff\0\0")))["w"]
    assert array.tolist() == [False, True, True, True, False, False]


@both
def test_a_key_that_takes_forever_to_hash_is_refused(wrap, write):
    # A pair of a pair of … : 80 pairs in the file, 2^80 to whoever follows them.
    pairs = b")q\0" + b"h\0h\0\x86q\0" * 80
    with pytest.raises(ValueError, match="strings or integers as keys"):
        read_pth(write(wrap(b"\x80\x02" + pairs + b"}h\0K\1s.")))


PAIRS = b")q\0" + b"h\0h\0\x86q\0" * 80


@both
@pytest.mark.parametrize(
    "code",
    [
        b"\x8f(" + PAIRS + b"\x90",
        b"(" + PAIRS + b"\x91",
        b"(" + PAIRS + b"1cs\ns\nh\0R",
    ],
    ids=["set", "frozenset", "object"],
)
def test_what_takes_forever_to_hash_beside_the_tensors_is_never_hashed(
    wrap, write, code
):
    assert list(read_pth(write(wrap(state(beside=code, w=tensor()))))) == ["w"]


@both
def test_integers_that_hash_alike_are_never_hashed(wrap, write):
    # All multiples of 2^61 - 1 have the hash 0: n of them would take n^2 steps.
    alike = {k * (2**61 - 1): 1 for k in range(1, 9)}
    with pytest.raises(ValueError, match="strings or integers as keys"):
        read_pth(write(wrap(pickle.dumps(alike, 2), keys=())))


@both
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (plain("n" * 301) + b"2\x93", "over 300 characters"),
        (b"ccollections\nOrderedDict\n" + plain((1,) * 9) + b"R", "more than 8"),
        (b"ccollections\nOrderedDict\n(cs\ns\n" + b"N" * 8 + b"tR", "more than 8"),
        (b"ccollections\nOrderedDict\n" + plain("ab") + b"\x85R", "a list of its"),
    ],
    ids=["name", "arguments", "an object among them", "no list"],
)
def test_what_is_named_again_and_again_is_not_copied(wrap, write, code, reason):
    with pytest.raises(ValueError, match=f"damaged.*{reason}"):
        read_pth(write(wrap(state(beside=code, w=tensor()))))


def test_the_pickles_of_a_file_together_have_a_largest_size(write, monkeypatch):
    body, more = state(w=tensor()), {"little_endian": True, "more": "x" * 600}
    assert list(read_pth(write(as_legacy(body, system=more)))) == ["w"]
    monkeypatch.setattr(machine, "MAX_PICKLE_BYTES", 700)
    assert len(body) < 200
    with pytest.raises(ValueError, match="exceeds the 700 bytes allowed"):
        read_pth(write(as_legacy(body, system=more)))


@both
@pytest.mark.parametrize(
    "code",
    [
        b"K\1r\xff\xff\xff\xff",  # remember as number 4294967295
        b"X\xff\xff\xff\xffabc",  # a string of 4 GB
        b"T\xff\xff\xff\x7fabc",
        b"\x8a\xffabc",
        b"\x8b\xff\xff\xff\x7fabc",
        b"\x8b\xff\xff\xff\xffabc",
        b"\x8d" + b"\xff" * 8 + b"abc",
        b"\x8e" + b"\xff" * 7 + b"\x7fabc",
        b"\x96" + b"\xff" * 8 + b"abc",
        b"\x95" + b"\xff" * 8,
    ],
    ids=[
        *("memo", "string", "bytes", "integer", "long integer", "negative"),
        *("long string", "long bytes", "array of bytes", "frame"),
    ],
)
def test_a_claim_in_a_pickle_takes_no_memory(wrap, write, code):
    path = write(wrap(b"\x80\x02" + code + b"."))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"weights\.pth cannot be read"):
            read_pth(path)
        assert tracemalloc.get_traced_memory()[1] < 2**18
    finally:
        tracemalloc.stop()


@both
def test_a_pickle_has_a_largest_size(wrap, write, monkeypatch):
    body = b"\x80\x02" + b"}" * 2000 + b"."
    monkeypatch.setattr(machine, "MAX_PICKLE_BYTES", 1000)
    with pytest.raises(ValueError, match="exceeds the 1000 bytes allowed"):
        read_pth(write(wrap(body)))


@both
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (b"\x97", "no opcode"),  # a buffer outside the pickle
        (b"\x82\1", "no opcode"),  # a class by a number of copyreg
        (b"(o", "no opcode"),
        (b"(ios\nsystem\n", "no opcode"),
        (b"\x93", "damaged"),
        (b"K\1K\2\x93", "damaged"),
        (b"R", "damaged"),
        (b"h\7", "damaged"),
        (b"t", "damaged"),
        (b"cos", "cut off"),
        (b"K\1K\2a", "damaged"),
        (b"K\1K\2K\3s", "damaged"),
        (b"K\1}b", "damaged"),
        (b"K\1)R", "damaged"),
        (b"K\1Q", "damaged"),
        (b"U\1\xff", "damaged"),
        (b"}(K\1u", "damaged"),
        (b"ctorch._utils\n_rebuild_parameter\n(K\1tR", "damaged"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n(K\1tR", "damaged"),
        (b"ctorch\nFloatStorage\n)R", "damaged"),
    ],
)
def test_opcodes_that_do_not_fit_are_damage(wrap, write, code, reason):
    with pytest.raises(ValueError, match=rf"weights\.pth cannot be read.*{reason}"):
        read_pth(write(wrap(b"\x80\x02" + code + b".")))


@pytest.mark.parametrize("protocol", [0, 1, 6])
def test_other_pickle_protocols_are_refused(write, protocol):
    body = b"\x80" + bytes([protocol]) + b"}."
    with pytest.raises(ValueError, match=f"2 to 5 are read, this one is {protocol}"):
        read_pth(write(as_zip(body)))


@both
def test_strings_of_python_2_are_read(wrap, write):
    code = b"\x80\x02}(U\1w" + tensor() + b"u."
    assert list(read_pth(write(wrap(code)))) == ["w"]


@both
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({}, "no state dict but an empty dictionary"),
        ([1], "no state dict but a list"),
        (3, "no state dict but a int"),
        ({"epoch": 3}, r"also 'epoch' \(a int\)"),
        ({"state_dict": {"w": "text"}}, r"also 'w' \(a str\)"),
        ({"state_dict": {}}, "an empty dictionary"),
    ],
)
def test_what_is_no_state_dict_is_said_to_be_none(wrap, write, value, reason):
    with pytest.raises(ValueError, match=reason):
        read_pth(write(wrap(pickle.dumps(value, 2), keys=())))
