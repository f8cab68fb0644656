"""Good files give their pixels, whichever library decodes them."""

import numpy as np
import pytest
from support.good_images import GOOD
from support.images import JPEG, MAX_PIXELS, PHOTO, PNG, Case, pillow_bytes, sized

from train.data.images import decode as module
from train.data.images.decode import BadImage, decode

by_name = pytest.mark.parametrize("case", GOOD, ids=lambda case: case.name)


def check(case: Case) -> None:
    got = decode(case.data, max_pixels=MAX_PIXELS)
    assert got.dtype == np.uint8 and got.flags.c_contiguous
    np.testing.assert_array_equal(got, case.want)


@by_name
def test_a_good_file_gives_its_pixels(case, recwarn):
    check(case)
    assert not recwarn.list


@pytest.mark.parametrize(
    "case", [c for c in GOOD if "jpeg" in c.name], ids=lambda case: case.name
)
def test_pillow_alone_gives_the_same_pixels(case, monkeypatch, recwarn):
    monkeypatch.setitem(module.DECODERS, "JPEG", module.pillow)
    check(case)
    assert not recwarn.list


def test_sixteen_bits_are_not_saturated():
    (case,) = (case for case in GOOD if case.name == "png grey of 16 bits")
    pixels = decode(case.data, max_pixels=MAX_PIXELS)
    assert pixels.mean() == pytest.approx(PHOTO[..., 1].mean())


@pytest.mark.parametrize("data", [JPEG, PNG], ids=["jpeg", "png"])
def test_the_cap_on_pixels_is_exact(data):
    pixels = PHOTO.shape[0] * PHOTO.shape[1]
    assert decode(data, max_pixels=pixels).shape == PHOTO.shape
    with pytest.raises(BadImage, match="83 x 61 = 5,063 pixels"):
        decode(data, max_pixels=pixels - 1)


def test_pictures_that_pillow_would_warn_of_are_a_matter_of_the_cap_alone(recwarn):
    # Over Pillow's own limit of 89 million pixels; black packs to next to nothing.
    wide = pillow_bytes(np.zeros((1, 1), np.uint8))
    wide = sized(wide, 60000, 60000)
    with pytest.raises(BadImage, match="3,600,000,000 pixels"):
        decode(wide, max_pixels=100_000_000)
    assert not recwarn.list
