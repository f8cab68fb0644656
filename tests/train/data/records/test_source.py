"""A source holds only images and labels that belong together."""

import numpy as np
import pytest

from train.data.records.arrays import ArraySource

IMAGES = np.zeros((3, 5, 4, 1), np.uint8)
LABELS = np.array([0, 1, 1], np.int32)


def test_a_source_tells_its_sizes():
    source = ArraySource(IMAGES, LABELS, ("cat", "dog"))
    assert len(source) == 3
    assert source.num_classes == 2
    assert source.image_shape == (5, 4, 1)


def test_sources_can_be_keys_of_a_dictionary():
    one, other = (ArraySource(IMAGES, LABELS, ("cat", "dog")) for _ in range(2))
    assert {one: 1}.get(other) is None


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES.astype(np.float32), LABELS, "images must be uint8.*got float32"),
        (IMAGES[..., 0], LABELS, r"images must be uint8 \(n, h, w, c\)"),
        (IMAGES, LABELS.astype(np.int64), "labels must be int32.*got int64"),
        (IMAGES, LABELS[:, None], r"labels must be int32 \(n\)"),
        (IMAGES[:2], LABELS, "2 images and 3 labels"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        ArraySource(images, labels, ("cat", "dog"))


@pytest.mark.parametrize("wrong", [-1, 2])
def test_the_first_label_without_a_class_is_named(wrong):
    labels = np.array([0, wrong, wrong], np.int32)
    with pytest.raises(ValueError, match=rf"0\.\.1.*labels\[1\] is {wrong} \(2 such"):
        ArraySource(IMAGES, labels, ("cat", "dog"))
