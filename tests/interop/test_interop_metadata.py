"""What a file of weights says of the network's inputs and outputs."""

import os

import pytest

from prm_flax.interop.metadata import About, Preprocessing, describe, read_about

ABOUT = About(
    ("cat", os.fsdecode(b"caf\xe9"), "日本 🍋", "line\nbreak", '"\\'),
    Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (224, 224, 3), 256),
)


def test_names_of_any_bytes_and_preprocessing_come_back():
    metadata = describe("resnet14", {}, ABOUT)
    assert all(value.isascii() for value in metadata.values())
    assert read_about(metadata, "FILE") == ABOUT


def test_a_file_may_say_nothing():
    assert read_about(describe("resnet14", {}), "FILE") == About((), None)


@pytest.mark.parametrize(
    "damaged",
    [
        {"class_names": "["},
        {"class_names": "[1, 2]"},
        {"preprocessing": "{}"},
        {"preprocessing": '{"mean": 3, "std": 3, "image_shape": [1], "resize": 0}'},
        {"class_names": "[" * 100_000},
    ],
)
def test_damage_is_named(damaged):
    with pytest.raises(ValueError, match="FILE has damaged metadata"):
        read_about(describe("resnet14", {}, ABOUT) | damaged, "FILE")
