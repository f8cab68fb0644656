"""Image files as networks take them: what `python -m train` makes of them, too."""

import json

import numpy as np
import pytest
from PIL import Image
from support.bad_images import BAD
from support.images import PHOTO, PNG, exif, photo, pillow_bytes, png, turned

from prm_flax.figures import photo as photos
from prm_flax.figures.class_names import read_names
from prm_flax.figures.photo import IMAGENET, Preparation, normalized, preparation_of
from prm_flax.figures.photo import read_photo as read
from train.data.images.crops import resize_centre_crop
from train.tasks.task import normalize

WHOLE = Preparation((0.5,), (0.5,), 28, 0)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "image.any"

    def write(data):
        path.write_bytes(data)
        return path

    return write


@pytest.mark.parametrize("shape", [(61, 83), (300, 200), (224, 224), (40, 41)])
def test_the_centre_is_what_the_training_program_evaluates(file, shape):
    data = png(photo(*shape), shape[::-1])
    got = read(file(data), 3, IMAGENET)
    want = resize_centre_crop(data, max_pixels=1_000_000)
    np.testing.assert_array_equal(got, want)
    ready = normalize(want[None], IMAGENET.mean, IMAGENET.std)
    np.testing.assert_allclose(normalized(got, IMAGENET), ready, rtol=1e-6, atol=1e-6)


def test_a_whole_image_is_squeezed(file):
    grey = (
        Image.fromarray(PHOTO).convert("L").resize((28, 28), Image.Resampling.BILINEAR)
    )
    got = read(file(PNG), 1, WHOLE)
    np.testing.assert_array_equal(got[..., 0], np.asarray(grey))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_exifs_orientation_is_applied(file, orientation):
    image = turned(PHOTO, orientation)
    data = pillow_bytes(image, "PNG", exif=exif(orientation))
    size = IMAGENET._replace(size=40, resize=61)
    upright = read(file(pillow_bytes(PHOTO, "PNG")), 3, size)
    np.testing.assert_array_equal(read(file(data), 3, size), upright)


def test_sixteen_bits_keep_the_upper_eight(file):
    grey = PHOTO[..., 0].astype(np.uint16) * 256 + 77
    data = pillow_bytes(Image.fromarray(grey), "PNG")
    size = IMAGENET._replace(size=61, resize=61)
    got = read(file(data), 1, size)
    np.testing.assert_array_equal(got[..., 0], PHOTO[:, 11:72, 0])


@pytest.mark.parametrize("case", BAD, ids=[case.name for case in BAD])
def test_what_is_no_picture_is_refused_or_read_but_never_crashes(file, case):
    try:
        assert read(file(case.data), 3, WHOLE).shape == (28, 28, 3)
    except ValueError as error:
        assert str(error).startswith("IMAGE must be an image file (JPEG, PNG, WEBP,")


@pytest.mark.parametrize("data", [b"", b"GIF89a", PNG[:2000], b"text"])
def test_what_is_clearly_none_is_refused(file, data):
    with pytest.raises(ValueError, match=r"image\.any: "):
        read(file(data), 3, WHOLE)


def test_the_size_is_refused_before_anything_is_decoded(file, monkeypatch):
    monkeypatch.setattr(photos, "MOST_PIXELS", 61 * 83 - 1)
    monkeypatch.setattr(Image.Image, "load", None)
    with pytest.raises(ValueError, match="it has 83 × 61 pixels, at most 5,062"):
        read(file(PNG), 3, WHOLE)


def test_a_picture_too_long_to_be_resized_is_refused(file):
    data = png(np.zeros((1, 400, 3), np.uint8), (400, 1))
    size = IMAGENET._replace(size=600, resize=600)
    with pytest.raises(ValueError, match="would become 240000 × 600"):
        read(file(data), 3, size)


@pytest.mark.parametrize(("size", "resize"), [(0, 0), (30, 20), (10, -1)])
def test_a_cut_larger_than_the_picture_is_refused(file, size, resize):
    with pytest.raises(ValueError, match="1 <= size <= resize"):
        read(file(PNG), 3, IMAGENET._replace(size=size, resize=resize))


@pytest.mark.parametrize("wrong", [{"mean": (0.1, 0.2)}, {"std": (1.0, 0.0, 1.0)}])
def test_a_normalisation_of_other_colours_is_refused(wrong):
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="must have 1 or 3 number"):
        normalized(image, IMAGENET._replace(**wrong))


OPTIONS = {
    "data.source": "image_folder",
    "data.mean": [0.1],
    "data.std": [0.2],
    "data.image_size": 64,
    "data.eval_resize": 72,
}


def test_a_run_says_how_it_evaluates():
    assert preparation_of({}) == IMAGENET
    assert preparation_of(OPTIONS) == Preparation((0.1,), (0.2,), 64, 72)
    small = OPTIONS | {"data.source": "fashion_mnist"}
    assert preparation_of(small) == Preparation((0.1,), (0.2,), 28, 0)
    with pytest.raises(ValueError, match=r"must have data\.mean, data\.std"):
        preparation_of({"data.source": "idx", "data.image_size": 3})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("names.txt", "tench\ngreat white shark\n"),
        ("names.json", json.dumps(["tench, Tinca tinca", "great white shark"])),
        ("names.json", json.dumps({"1": "great white shark", "0": "tench, Tinca"})),
    ],
)
def test_names_are_lines_or_json(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert read_names(tmp_path / name, 2) == ["tench", "great white shark"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("n.txt", b"one\n", "must have 2 names.*has 1"),
        ("n.txt", b"\xff\xfe", "UnicodeDecodeError"),
        ("n.json", b"{", "JSONDecodeError"),
        ("n.json", b"7", "has none"),
        ("n.json", b'{"0": "a", "2": "b"}', "KeyError"),
    ],
)
def test_other_names_are_refused(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_names(tmp_path / name, 2)
    with pytest.raises(ValueError, match="FileNotFoundError"):
        read_names(tmp_path / "missing", 2)
