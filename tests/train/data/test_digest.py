"""Digests of lists: the same list, the same digest, wherever it lies."""

import os
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.imagenet import photos, write_folder, write_tfds

from train.data.datasets.fake import FakeInput, fake
from train.data.datasets.image_folder import load_image_folder
from train.data.datasets.tfds import load_imagenet
from train.data.digest import digest
from train.data.pipeline import ArrayInput
from train.data.records import tfrecord as record_index
from train.data.records.arrays import ArraySource

PARTS = st.lists(st.binary(max_size=4), max_size=4)


@given(PARTS, PARTS)
def test_other_parts_have_another_digest(one, other):
    assert (digest(one) == digest(other)) == (one == other)


def test_names_of_any_bytes_have_one():
    raw = b"caf\xe9"
    assert digest([os.fsdecode(raw)]) == digest([raw])


def test_shapes_and_dtypes_of_arrays_count():
    zeros = np.zeros((2, 3), np.uint8)
    others = [zeros.T, zeros.reshape(-1), zeros.astype(np.int8)]
    assert len({digest([array]) for array in [zeros, *others]}) == 4


PHOTOS = photos(6, 2), photos(4, 2, val=True)


@pytest.fixture
def tree(tmp_path):
    return write_folder(tmp_path / "tree", *PHOTOS)


def of_tree(root):
    splits = load_image_folder(root)
    return splits.train.digest, splits.test.digest


def test_a_tree_that_has_moved_is_the_same(tree, tmp_path):
    before = of_tree(tree)
    shutil.move(tree, tmp_path / "elsewhere")
    assert of_tree(tmp_path / "elsewhere") == before


def renamed(file):
    file.rename(file.with_name("another.JPEG"))


def longer(file):
    file.write_bytes(file.read_bytes() + b"\0")


@pytest.mark.parametrize("change", [renamed, longer])
def test_another_name_or_size_is_another_list(tree, change):
    train, test = of_tree(tree)
    change(min((tree / "train").rglob("*.JPEG")))
    now = of_tree(tree)
    assert now[0] != train and now[1] == test


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_records_have_one_of_their_index(tmp_path, monkeypatch, file_format):
    monkeypatch.setattr(record_index, "CACHE", tmp_path / "cache")
    digests = set()
    for name, train in (("one", PHOTOS[0]), ("two", PHOTOS[0]), ("few", PHOTOS[0][1:])):
        write_tfds(tmp_path / name, train, PHOTOS[1], file_format=file_format)
        digests.add(load_imagenet(tmp_path / name).train.digest)
    assert len(digests) == 2


def test_arrays_have_one_of_their_content():
    splits = fake(0, 8, (4, 4, 1), 2)
    train = splits.train
    again = ArraySource(train.images.copy(), train.labels.copy(), ("a", "b"))
    assert again.digest == train.digest
    others = ArraySource(train.images, 1 - train.labels, ("a", "b"))
    assert others.digest != train.digest


def test_inputs_tell_both():
    splits = fake(0, 8, (4, 4, 1), 2)
    assert ArrayInput(splits, 4, 4, 0).digests == (
        splits.train.digest,
        splits.test.digest,
    )
    small, large = FakeInput((4, 4, 3), 2, 4, 4), FakeInput((8, 8, 3), 2, 4, 4)
    assert len({*small.digests, *large.digests}) == 4
