"""Windows and sizes of training images: a function of seed, epoch and image alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.data.boxes.annotations import Annotated, BoxSet
from train.data.boxes.augment import Augment, kept_within, moved_into
from train.data.boxes.examples import Rule, example
from train.data.boxes.resize import fitted, padded

LIMITS = (96, 160)


def one(height, width, boxes):
    """A set of one image whose pixels tell their place."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows, columns, rows * 0], axis=-1).astype(np.uint8)
    n = len(boxes)
    stated = Annotated(
        "it",
        1,
        (height, width),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.arange(n, dtype=np.int32),
        np.zeros(n, bool),
        np.ones(n),
    )
    names = tuple(f"class {k}" for k in range(max(n, 1)))
    return BoxSet([stated], names, tuple(range(len(names))), lambda index: image)


@given(
    st.integers(20, 120), st.integers(20, 120), st.integers(0, 9), st.floats(0.1, 1.0)
)
def test_whatever_is_drawn_fits_into_the_shape_of_the_whole(height, width, epoch, crop):
    rule = Rule(LIMITS, (), 4, Augment(least=40, crop=crop), skip=False)
    shape = padded(fitted((height, width), LIMITS))
    made = example(one(height, width, []), rule, 0, shape, (0, epoch))
    assert made["image"].shape == (*shape, 3)
    assert (made["size"] <= shape).all()


@pytest.mark.parametrize("epoch", range(6))
def test_boxes_move_with_what_they_mark(epoch):
    """Pixels tell where they were: so do boxes."""
    box = [40, 30, 70, 60]
    rule = Rule((100, 100), (), 4, Augment(least=50, crop=0.6), skip=False)
    made = example(one(100, 100, [box]), rule, 0, (128, 128), (3, epoch))
    assert made["valid"].tolist() == [True, False, False, False]
    x1, y1, x2, y2 = made["boxes"][0]
    middle = made["image"][round((y1 + y2 - 1) / 2), round((x1 + x2 - 1) / 2)]
    # A cut box is of what is left of it.
    assert 29 <= middle[0] <= 60
    assert 39 <= middle[1] <= 70


def test_the_same_visit_draws_the_same_and_others_do_not():
    draw = Augment(least=40, crop=0.5)
    windows = [draw.window(0, epoch, 5, (80, 120)) for epoch in range(8)]
    assert windows == [draw.window(0, epoch, 5, (80, 120)) for epoch in range(8)]
    assert len(set(windows)) == 8
    sizes = {draw.limits(0, epoch, 5, LIMITS) for epoch in range(30)}
    assert len(sizes) > 10
    assert all(40 <= short <= 96 and long == 160 for short, long in sizes)


def test_without_options_nothing_but_the_flip_varies():
    draw = Augment()
    assert draw.window(0, 0, 0, (80, 120)) is None
    assert draw.limits(0, 0, 0, LIMITS) == LIMITS
    assert {draw.flips(0, 0, index) for index in range(20)} == {True, False}
    assert not any(Augment(flip=False).flips(0, 0, index) for index in range(20))


def test_objects_whose_centre_is_outside_are_not_kept():
    window = Augment(crop=0.5).window(0, 0, 0, (100, 100))
    assert window is not None
    y, x, height, width = window
    centres = np.array([[x, y], [x + width - 1, y + 5], [x + width, y], [x - 1, y]])
    boxes = np.concatenate([centres - 10, centres + 10], axis=1).astype(np.float32)
    assert kept_within(boxes, window).tolist() == [True, True, False, False]
    moved = moved_into(boxes, window)
    assert moved.min() >= 0
    assert (moved[:, 2] <= width).all() and (moved[:, 3] <= height).all()
