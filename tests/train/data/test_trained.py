"""Inputs of a trained network: labels by name, photos without the data."""

from pathlib import Path

import numpy as np
import pytest

from train.data.datasets.fake import fake
from train.data.pipeline import ArrayInput
from train.data.trained import PhotosOnly, Relabelled

PLACES = np.array([2, 0], np.int32)


@pytest.fixture
def found():
    return ArrayInput(fake(0, 8, (4, 4, 1), 2), 4, 4, 0)


@pytest.fixture
def relabelled(found):
    return Relabelled(found, ("x", "y", "z"), PLACES)


def test_labels_become_places_in_the_other_list(found, relabelled):
    pairs = [
        (found.train(0, 2), relabelled.train(0, 2)),
        (found.test(), relabelled.test()),
    ]
    for theirs, ours in pairs:
        for before, after in zip(theirs, ours, strict=True):
            np.testing.assert_array_equal(after["label"], PLACES[before["label"]])
            np.testing.assert_array_equal(after["image"], before["image"])
    images, labels = relabelled.sample(3)
    np.testing.assert_array_equal(labels, PLACES[found.sample(3)[1]])
    np.testing.assert_array_equal(images, found.sample(3)[0])


def test_the_rest_is_the_input_s(found, relabelled):
    for name in ("image_shape", "train_images", "test_images", "digests", "skipped"):
        assert getattr(relabelled, name) == getattr(found, name)
    assert relabelled.class_names == ("x", "y", "z")


def test_photos_are_read_where_the_images_are_not():
    seen = []

    def reader(path):
        seen.append(path)
        return np.zeros((4, 4, 1), np.uint8)

    photos = PhotosOnly(("x",), (4, 4, 1), reader)
    assert photos.read(Path("p.png")).shape == (4, 4, 1)
    assert seen == [Path("p.png")]
    calls = (lambda: photos.train(0, 1), photos.test, lambda: photos.sample(1))
    for ask in calls:
        with pytest.raises(ValueError, match="were not opened"):
            ask()
