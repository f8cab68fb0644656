"""Sizes are the detection library's to the pixel; boxes go with their image."""

import json

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from support import golden

from train.data.boxes.resize import fit, fitted, on_canvas, padded

ROWS = json.loads((golden.PUBLIC / "det_resize.json").read_text())["rows"]
LIMITS = (800, 1333)


@pytest.mark.parametrize(
    "row", ROWS, ids=lambda row: "×".join(map(str, row["size_hw"]))
)
def test_the_librarys_sizes(row):
    size = tuple(row["size_hw"])
    assert list(fitted(size, LIMITS)) == row["new_hw"]
    assert list(padded(fitted(size, LIMITS))) == row["padded_hw"]
    made = fit(
        np.zeros((*size, 3), np.uint8),
        np.zeros((0, 4), np.float32),
        fitted(size, LIMITS),
    )
    assert np.tile(made.scale, 2).tolist() == row["scale_factor_whwh_float32"]


@given(st.integers(1, 90), st.integers(1, 90), st.booleans())
def test_boxes_stay_within_the_image_and_on_what_they_mark(height, width, flip):
    box = np.array([[0, 0, width, height], [0, 0, width / 2, height]], np.float32)
    made = fit(
        np.zeros((height, width, 3), np.uint8),
        box,
        fitted((height, width), (40, 60)),
        flip,
    )
    h, w, _ = made.image.shape
    assert h <= 60 and w <= 60 and min(h, w) <= 40
    np.testing.assert_allclose(made.boxes[0], [0, 0, w, h], atol=1e-4)
    left = w / 2 if flip else 0
    np.testing.assert_allclose(made.boxes[1, ::2], [left, left + w / 2], atol=1e-3)


def test_a_mark_is_where_its_box_is_after_flip_and_padding():
    image = np.zeros((20, 30, 3), np.uint8)
    image[4:8, 2:12] = 255
    made = fit(image, np.array([[2, 4, 12, 8]], np.float32), (40, 60), flip=True)
    canvas = on_canvas(made.image, (64, 64))
    x1, y1, x2, y2 = made.boxes[0].astype(int)
    assert (x1, y1, x2, y2) == (36, 8, 56, 16)
    assert canvas[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].min() == 255
    assert canvas.astype(int).sum() < 255 * 3 * (x2 - x1 + 4) * (y2 - y1 + 4)
