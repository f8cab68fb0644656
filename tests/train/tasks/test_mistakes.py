"""What a detector is sure of and wrong about, and what of the image shows it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prm_flax.figures import boxes as drawing
from train.data.boxes.annotations import Annotated
from train.data.boxes.input import Truth
from train.tasks.mistakes import Mistake, cutout, mistakes

NAMES = ("cat", "dog")
# Of the image: a cat, a dog, a crowd of cats.
BOXES = np.array([[0, 0, 10, 10], [50, 50, 70, 70], [80, 0, 100, 40]], np.float32)
LABELS, CROWD = np.array([0, 1, 0], np.int32), np.array([False, False, True])
IMAGE = Annotated("it", 7, (100, 120), BOXES, LABELS, CROWD, np.full(3, 100.0))
TRUTH = Truth([IMAGE], NAMES, (3, 5))


def found(box, name, score):
    x1, y1, x2, y2 = box
    number = TRUTH.category_ids[NAMES.index(name)]
    bbox = [x1, y1, x2 - x1, y2 - y1]
    return {"image_id": 7, "category_id": number, "bbox": bbox, "score": score}


CASES = {
    "right": ([0, 0, 10, 10], "cat", ""),
    "right to half": ([0, 0, 10, 6], "cat", ""),
    "of another class": ([51, 50, 70, 70], "cat", "is dog"),
    "misplaced": ([5, 0, 15, 10], "cat", "misplaced"),
    "nothing": ([20, 80, 40, 95], "dog", "nothing there"),
    "on a crowd": ([85, 5, 95, 30], "cat", ""),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_with_a_box(case):
    box, name, why = CASES[case]
    assert [m.why for m in mistakes(TRUTH, [found(box, name, 0.9)], 5)] == (
        [why] if why else []
    )


def test_the_surest_come_first_and_an_object_is_found_once():
    results = [
        found([0, 0, 10, 9], "cat", 0.6),
        found([0, 0, 10, 10], "cat", 0.9),
        found([20, 80, 40, 95], "dog", 0.8),
        found([51, 50, 70, 70], "cat", 0.7),
    ]
    got = [(m.why, m.score) for m in mistakes(TRUTH, results, 5)]
    assert got == [("nothing there", 0.8), ("is dog", 0.7), ("found twice", 0.6)]
    assert len(mistakes(TRUTH, results, 2)) == 2


def test_no_box_and_no_object():
    assert mistakes(TRUTH, [], 5) == []
    nothing = (np.zeros((0, 4), np.float32), LABELS[:0], CROWD[:0])
    empty = IMAGE._replace(
        **dict(zip(("boxes", "labels", "crowd"), nothing, strict=True))
    )
    result = [found([0, 0, 10, 10], "cat", 0.9)]
    (only,) = mistakes(TRUTH._replace(images=[empty]), result, 5)
    assert only.why == "nothing there"


@given(st.integers(0, 119), st.integers(0, 99), st.integers(1, 60))
def test_a_cutout_shows_the_box_where_it_is(x, y, side):
    rows, columns = np.mgrid[:100, :120]
    pixels = np.stack([rows, columns, rows], axis=-1).astype(np.uint8)
    box = [x, y, min(x + side, 120), min(y + side, 100)]
    mistake = Mistake(0, np.array(box, float), 0, 1.0, "nothing there")
    part = cutout(mistake, pixels, IMAGE)
    height, width = part.pixels.shape[:2]
    x1, y1, x2, y2 = part.box.astype(int)
    assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
    assert tuple(part.pixels[y1, x1, :2]) == (y, x)
    assert (part.boxes[:, 2:] <= [width, height]).all()


def test_they_are_drawn(tmp_path):
    pixels = np.zeros((100, 120, 3), np.uint8)
    (mistake,) = mistakes(TRUTH, [found([51, 50, 70, 70], "cat", 0.7)], 1)
    part = cutout(mistake, pixels, IMAGE)
    own = drawing.Found(part.box[None], np.array([0]), np.array([0.7]))
    drawing.detections(
        tmp_path / "m.png",
        [part.pixels],
        [own],
        NAMES,
        [(part.boxes, part.labels)],
        titles=["is dog"],
    )
    assert (tmp_path / "m.png").stat().st_size > 1000
