"""The training resize: close to Pillow's triangle, and as free of aliases."""

import math

import numpy as np
import pytest
from PIL import Image
from support.images import textured

from train.data.images.crops import opencv_resize, pillow_resize


@pytest.mark.parametrize("shape", [(240, 260), (300, 330), (375, 460), (200, 300)])
def test_the_fast_filter_is_close_to_pillows(shape):
    pixels = textured(*shape)
    want = pillow_resize(pixels, 224, False).astype(int)
    distance = np.abs(opencv_resize(pixels, 224, False) - want).mean()
    # Levels of 255. Noise from pixel to pixel is the hardest picture there is; linear
    # interpolation without the filter is 2.5 to 8 away.
    assert distance < 2.0


@pytest.mark.parametrize("resize", [opencv_resize, pillow_resize])
@pytest.mark.parametrize("shape", [(224, 224), (300, 400), (448, 448), (1000, 2000)])
@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_a_flat_picture_stays_flat(resize, shape, level):
    flat = np.full((*shape, 3), level, np.uint8)
    assert (resize(flat, 224, False) == level).all()


@pytest.mark.parametrize("scale", [1.6, 2.0, 3.0, 5.3])
def test_a_fine_checkerboard_becomes_grey(scale):
    side = round(64 * scale)
    board = (np.indices((side, side)).sum(0) % 2 * 255).astype(np.uint8)
    got = opencv_resize(np.repeat(board[..., None], 3, axis=2), 64, False)
    inner = got[2:-2, 2:-2].astype(float)
    plain = np.asarray(
        Image.fromarray(board).resize((64, 64), Image.Resampling.BILINEAR)
    )
    # Beats would be as strong as the board itself, 127.
    assert inner.std() <= plain[2:-2, 2:-2].std() + 25


def test_a_zone_plate_has_no_rings_where_its_detail_cannot_be_shown():
    side, size = 448, 224
    place = np.arange(side) - side / 2
    squares = place[:, None] ** 2 + place**2
    # The frequency grows with the radius, to half a cycle a pixel at the edge.
    plate = 127.5 + 127.5 * np.cos(math.pi / side * squares)
    plate = np.repeat(plate.astype(np.uint8)[..., None], 3, axis=2)
    got = opencv_resize(plate, size, False)[..., 0].astype(float)
    radius = np.hypot(*(np.indices((size, size)) - size / 2 + 0.5)) * 2
    beyond = got[(radius > 0.8 * side / 2) & (radius < side / 2)]
    unfiltered = plate[::2, ::2, 0][(radius > 0.8 * side / 2) & (radius < side / 2)]
    assert beyond.std() < 0.15 * unfiltered.std()
