"""Random crops lie in the picture and are a function of their words."""

import math
import subprocess
import sys
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from support.bad_images import BAD
from support.good_images import GOOD
from support.images import (
    MAX_PIXELS,
    exif,
    photo,
    pillow_bytes,
    textured,
    turned,
)

from train.data.images import crops, decode
from train.data.images.crops import (
    CROP_WORDS,
    crop_box,
    opencv_resize,
    pillow_resize,
    random_resized_crop,
)
from train.data.images.decode import BadImage
from train.data.rng import words_at

REPO = Path(__file__).parents[4]
SIZES = st.integers(1, 3000)
UNITS = st.floats(0, 1, exclude_max=True)
NUMBERS = st.lists(UNITS, min_size=CROP_WORDS, max_size=CROP_WORDS)


def draw(index: int) -> np.ndarray:
    return words_at(0, 0, "crop", index, CROP_WORDS)


@settings(max_examples=300)
@given(height=SIZES, width=SIZES, numbers=NUMBERS)
def test_a_box_lies_within_the_picture(height, width, numbers):
    top, left, rows, columns = crop_box(height, width, numbers, (0.1, 1.0), (0.8, 1.25))
    assert 0 <= top <= top + rows <= height and rows >= 1
    assert 0 <= left <= left + columns <= width and columns >= 1


@settings(max_examples=300)
@given(height=SIZES, width=SIZES, numbers=NUMBERS)
def test_a_box_has_the_promised_aspect_up_to_rounding(height, width, numbers):
    rows, columns = crop_box(height, width, numbers, (0.1, 1.0), (0.8, 1.25))[2:]
    # Half a pixel at each side, and a side of one pixel cannot be shorter.
    assert columns + 1 >= 0.8 * (rows - 1) and columns - 1 <= 1.25 * (rows + 1)


@settings(max_examples=300)
@given(numbers=NUMBERS)
def test_a_box_has_the_promised_area_up_to_rounding(numbers):
    # A square picture holds every share up to 0.8 in every aspect: no try fails.
    rows, columns = crop_box(500, 500, numbers, (0.1, 0.8), (0.8, 1.25))[2:]
    share = 0.1 + numbers[0] * 0.7
    assert abs(rows * columns - share * 500 * 500) <= rows + columns


def test_area_and_log_aspect_are_uniform_and_every_place_is_reached():
    random = np.random.default_rng(0).random((20_000, CROP_WORDS)).tolist()
    boxes = [crop_box(400, 400, row, (0.1, 0.6), (0.8, 1.25)) for row in random]
    top, left, rows, columns = np.array(boxes).T
    share = (rows * columns / 400**2 - 0.1) / 0.5
    aspect = (np.log(columns / rows) / math.log(1.25) + 1) / 2
    for uniform in (share, aspect):
        counts = np.histogram(uniform, 5, (0, 1))[0]
        np.testing.assert_allclose(counts / 20_000, 0.2, atol=0.02)
    for start, side in ((top, rows), (left, columns)):
        assert start.min() == 0 and (start + side).max() == 400
        assert ((start + side / 2) / 400).mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("picture", "box"),
    [((10, 1000), (0, 494, 10, 12)), ((1000, 10), (494, 0, 12, 10))],
)
def test_a_picture_too_long_for_ten_tries_is_cut_in_its_middle(picture, box):
    numbers = [0.99] * CROP_WORDS
    assert crop_box(*picture, numbers, (0.5, 1.0), (0.8, 1.25)) == box


@pytest.mark.parametrize(
    ("area", "aspect"),
    [((0, 1), (1, 1)), ((0.5, 0.1), (1, 1)), ((0.1, 1.1), (1, 1)), ((1, 1), (2, 1))],
)
def test_ranges_without_sense_are_refused(area, aspect):
    with pytest.raises(ValueError, match="smallest <= largest"):
        crop_box(10, 10, [0.5] * CROP_WORDS, area, aspect)


def test_the_same_words_give_the_same_bits_and_other_words_another_crop():
    data = pillow_bytes(textured(150, 200))
    how = {"size": 64, "max_pixels": MAX_PIXELS}
    first = random_resized_crop(data, draw(0), **how)
    assert first.shape == (64, 64, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, random_resized_crop(data, draw(0), **how))
    assert (first != random_resized_crop(data, draw(1), **how)).any()


@pytest.mark.parametrize("resize", [opencv_resize, pillow_resize])
def test_half_of_the_crops_are_mirrored(resize, monkeypatch):
    monkeypatch.setattr(crops, "resize_square", resize)
    data = pillow_bytes(photo(80, 100))
    how = {"size": 32, "max_pixels": MAX_PIXELS}
    mirrored = 0
    for index in range(60):
        straight = random_resized_crop(data, draw(index), flip=False, **how)
        got = random_resized_crop(data, draw(index), **how)
        flipped = (got == straight[:, ::-1]).all()
        assert flipped or (got == straight).all()
        mirrored += flipped
    assert 20 <= mirrored <= 40


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.name)
def test_every_good_kind_can_be_cut(case):
    got = random_resized_crop(case.data, draw(0), size=24, max_pixels=MAX_PIXELS)
    assert got.shape == (24, 24, 3) and got.dtype == np.uint8


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_every_bad_kind_is_refused_when_its_lowest_row_is_wanted(case):
    with pytest.raises(BadImage):
        random_resized_crop(
            *(case.data, draw(0)),
            **{"size": 24, "area": (1.0, 1.0), "aspect": (0.01, 100.0)},
            max_pixels=MAX_PIXELS,
        )


@pytest.mark.parametrize("size", [80, 40, 20])  # the smaller, shrunk by the decoder
def test_without_opencv_and_simplejpeg_crops_are_alike(size, monkeypatch):
    data = pillow_bytes(photo(150, 200), quality=95, subsampling=0)
    how = {"size": size, "max_pixels": MAX_PIXELS}
    fast = [random_resized_crop(data, draw(i), **how).astype(int) for i in range(10)]
    monkeypatch.setitem(decode.DECODERS, "JPEG", decode.pillow)
    monkeypatch.setattr(crops, "resize_square", pillow_resize)
    slow = [random_resized_crop(data, draw(i), **how) for i in range(10)]
    assert max(np.abs(a - b).mean() for a, b in zip(fast, slow, strict=True)) < 1.5


@pytest.mark.parametrize("number", range(1, 9))
def test_a_crop_is_the_same_however_the_picture_is_stored(number):
    upright = photo(120, 90)
    stored = pillow_bytes(turned(upright, number), "PNG", exif=exif(number))
    for index in range(8):
        for size in (50, 20):
            how = {"size": size, "max_pixels": MAX_PIXELS}
            want = random_resized_crop(pillow_bytes(upright, "PNG"), draw(index), **how)
            got = random_resized_crop(stored, draw(index), **how)
            np.testing.assert_array_equal(got, want)


def test_neither_opencv_nor_simplejpeg_needs_to_be_installed():
    program = """
import sys
sys.modules["cv2"] = sys.modules["simplejpeg"] = None  # importing them fails
from train.data.images import crops
from train.data.images import decode
from train.data.images import crops as resize
assert decode.DECODERS["JPEG"] is decode.pillow
assert crops.resize_square is resize.pillow_resize
"""
    subprocess.run([sys.executable, "-c", program], cwd=REPO, check=True)
