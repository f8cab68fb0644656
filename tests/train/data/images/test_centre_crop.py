"""Evaluation: bit for bit what plain Pillow gives."""

import io

import numpy as np
import pytest
from PIL import Image
from support.images import MAX_PIXELS, photo, pillow_bytes, textured

from train.data.images.crops import resize_centre_crop
from train.data.images.decode import BadImage

EVALUATED = {
    f"{kind} {width} x {height}": pillow_bytes(textured(height, width), **how)
    for height, width in ((375, 500), (500, 333), (257, 256), (101, 75), (640, 1001))
    for kind, how in {
        "4:4:4": {"subsampling": 0},
        "4:2:2": {"subsampling": 1},
        "4:2:0": {"subsampling": 2, "quality": 95},
        "progressive": {"progressive": True},
    }.items()
} | {"grey": pillow_bytes(textured(375, 500)[..., 0])}


@pytest.mark.parametrize("name", EVALUATED)
def test_evaluation_gives_the_bits_of_plain_pillow(name):
    data = EVALUATED[name]
    image = Image.open(io.BytesIO(data)).convert("RGB")
    short = min(image.size)
    width, height = (int(256 * side / short) for side in image.size)
    left, top = (int(round((side - 224) / 2)) for side in (width, height))  # noqa: RUF046
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    want = np.asarray(resized.crop((left, top, left + 224, top + 224)))
    got = resize_centre_crop(data, max_pixels=MAX_PIXELS)
    np.testing.assert_array_equal(got, want)


def test_a_picture_as_long_as_a_thread_is_refused_before_it_fills_the_memory():
    data = pillow_bytes(photo(2, 30000))
    with pytest.raises(BadImage, match="it is too long"):
        resize_centre_crop(data, max_pixels=100_000_000)


def test_a_crop_larger_than_the_resized_picture_is_refused():
    with pytest.raises(ValueError, match="size 300 and resize 256"):
        resize_centre_crop(EVALUATED["grey"], size=300, max_pixels=MAX_PIXELS)
