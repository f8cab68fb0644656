"""Twenty photos with their labels, and a thousand names."""

import pytest
from support.samples import FOLDER, needs_samples

from train.data.datasets.imagenet_samples import Photos, class_names, load_photos
from train.data.images.header import BadImage


@needs_samples
def test_twenty_photos_of_nineteen_classes():
    photos = load_photos(str(FOLDER)).test
    records = [photos[i] for i in range(len(photos))]
    assert len(records) == 20
    assert len({record.label for record in records}) == 19  # two jeeps
    assert records[0].name == "imagenet_00_243.jpg"
    assert records[0].label == 243
    assert photos.name(0) == f"{FOLDER}/imagenet_00_243.jpg"
    assert photos.class_names[243] == "bull mastiff"


@needs_samples
def test_train_and_test_are_the_same():
    train, test = load_photos(str(FOLDER))
    assert train is test


@needs_samples
def test_a_thousand_names_in_the_order_of_the_labels():
    names = class_names()
    assert len(names) == 1000
    assert (names[0], names[609], names[999]) == ("tench", "jeep", "toilet tissue")


def test_a_photo_that_is_too_large_or_gone_is_a_bad_image(tmp_path):
    (tmp_path / "a_3.jpg").write_bytes(b"1234")
    paths = tmp_path / "a_3.jpg", tmp_path / "b_1.jpg"
    assert Photos(paths, ("a",), max_bytes=4)[0].label == 3
    with pytest.raises(BadImage, match="may take 3 bytes, got 4"):
        Photos(paths, ("a",), max_bytes=3)[0]
    with pytest.raises(BadImage, match="cannot be read: No such file"):
        Photos(paths, ("a",), max_bytes=4)[1]
