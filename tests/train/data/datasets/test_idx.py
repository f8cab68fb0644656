"""The idx reader: what is right is read exactly, what is wrong is refused by name."""

import gzip
import hashlib
import struct
import tempfile
import tracemalloc
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from train.data.datasets.idx import find_idx_files, load_idx, read_idx

TINY = Path(__file__).parents[3] / "data" / "fashion_mnist_tiny"
PIXELS = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
ANY_ARRAY = arrays(np.uint8, array_shapes(max_dims=4, min_side=0, max_side=6))


@given(array=ANY_ARRAY, zipped=st.booleans())
def test_every_array_of_bytes_comes_back_plain_and_gzipped(idx_bytes, array, zipped):
    content = idx_bytes(array)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "any name")
        path.write_bytes(gzip.compress(content) if zipped else content)
        read = read_idx(path)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, array)


@given(data=st.data(), zipped=st.booleans())
def test_a_file_cut_anywhere_is_refused(idx_bytes, data, zipped):
    content = idx_bytes(PIXELS)
    content = gzip.compress(content) if zipped else content
    length = data.draw(st.integers(0, len(content) - 1))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "cut")
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"cut: .*fetch it again or remove it"):
            read_idx(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got an empty file"),
        (b"\x89PNG" + bytes(20), "starts with 00 00 08 .* got 89 50 4e 47"),
        (b"\0\0\x0d\x01" + bytes(8), "got 00 00 0d 01"),  # floats
        (b"\0\0\x08\x00", "1 to 8 axes, got 00 00 08 00"),
        (b"\0\0\x08\xff" + bytes(2000), "1 to 8 axes, got 00 00 08 ff"),
        (b"\0\0\x08\x03" + bytes(8), "truncated within the lengths of its 3 axes"),
        (struct.pack(">BBBBI", 0, 0, 8, 1, 3) + b"ab", "3 bytes .*holds only 2"),
        (struct.pack(">BBBBI", 0, 0, 8, 1, 3) + b"abcd", "3 bytes .*holds more"),
        (b"\x1f\x8bnot gzip", "Unknown compression method"),
    ],
)
def test_a_damaged_file_is_refused_with_its_name(tmp_path, content, message):
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


def test_a_flipped_bit_in_a_gzip_file_is_noticed(tmp_path, idx_bytes):
    content = bytearray(gzip.compress(idx_bytes(PIXELS), compresslevel=0))
    content[-12] ^= 1
    (tmp_path / "images").write_bytes(content)
    with pytest.raises(ValueError, match="CRC check failed"):
        read_idx(tmp_path / "images")


def test_a_header_of_many_terabytes_costs_no_memory(tmp_path):
    (tmp_path / "huge").write_bytes(
        struct.pack(">BBBB3I", 0, 0, 8, 3, *[2**32 - 1] * 3)
    )
    with pytest.raises(ValueError, match=r"states 79,228,.*the limit is 1,073,741,824"):
        read_idx(tmp_path / "huge")


def test_a_gzip_bomb_is_unpacked_no_further_than_its_header_says(tmp_path):
    bomb = struct.pack(">BBBBI", 0, 0, 8, 1, 10) + bytes(50_000_000)
    (tmp_path / "bomb").write_bytes(gzip.compress(bomb))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"states 10 bytes .*holds more"):
        read_idx(tmp_path / "bomb")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


def test_the_limit_can_be_set(tmp_path, idx_bytes):
    (tmp_path / "images").write_bytes(idx_bytes(PIXELS))
    assert read_idx(tmp_path / "images", max_bytes=24).shape == PIXELS.shape
    with pytest.raises(ValueError, match=r"states 24 bytes .*the limit is 23"):
        read_idx(tmp_path / "images", max_bytes=23)


def test_the_hash_is_of_the_uncompressed_content(tmp_path, idx_bytes):
    content = idx_bytes(PIXELS)
    right = hashlib.sha256(content).hexdigest()
    (tmp_path / "plain").write_bytes(content)
    (tmp_path / "zipped").write_bytes(gzip.compress(content))
    for name in ("plain", "zipped"):
        np.testing.assert_array_equal(read_idx(tmp_path / name, sha256=right), PIXELS)
        with pytest.raises(ValueError, match=rf"{name}.* must be 00, got {right}"):
            read_idx(tmp_path / name, sha256="00")


def test_a_set_is_four_files_gzipped_or_not(tmp_path, write_set):
    train, test = load_idx(write_set(tmp_path))
    np.testing.assert_array_equal(train.images[..., 0], PIXELS)
    np.testing.assert_array_equal(test.images[..., 0], PIXELS[:2])
    assert train.labels.tolist() == [0, 1, 2, 3]
    assert test.labels.tolist() == [0, 1]
    assert train.class_names == test.class_names == ("0", "1", "2", "3")


def test_the_uncompressed_file_is_read_where_both_are_there(tmp_path, write_set):
    plain = write_set(tmp_path) / "train-images-idx3-ubyte"
    plain.write_bytes(b"unpacked")
    assert find_idx_files(tmp_path)[plain.name] == plain


def test_all_missing_files_are_listed(tmp_path, write_set):
    write_set(tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").unlink()
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        load_idx(tmp_path)
    assert str(caught.value).endswith(
        "missing here: train-images-idx3-ubyte, t10k-labels-idx1-ubyte"
    )


def test_swapped_images_and_labels_are_noticed(tmp_path, write_set):
    write_set(tmp_path)
    labels = (tmp_path / "t10k-labels-idx1-ubyte").read_bytes()
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(labels)
    with pytest.raises(ValueError, match=r"expected 3 axes .*got 1: are images and"):
        load_idx(tmp_path)


def test_a_label_without_a_class_name_is_noticed(tmp_path, write_set):
    with pytest.raises(ValueError, match=r"labels\[2\] is 2"):
        load_idx(write_set(tmp_path), ("cat", "dog"))


def test_real_pictures_are_read():
    train, test = load_idx(TINY)
    assert train.images.shape == (640, 28, 28, 1)
    assert test.images.shape == (200, 28, 28, 1)
    assert train.labels[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    assert test.num_classes == 10
