"""VOC's average precision: the area under the whole curve, difficult objects aside."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import golden

from train.data.boxes.annotations import Annotated
from train.data.boxes.input import Truth
from train.tasks.average_precision import average_precision
from train.tasks.voc_precision import area, voc_precision


def truth(boxes, labels=None, crowd=None, names=("cat",)):
    n = len(boxes)
    image = Annotated(
        "it",
        1,
        (100, 100),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.zeros(n, np.int32) if labels is None else np.array(labels, np.int32),
        np.zeros(n, bool) if crowd is None else np.array(crowd),
        np.full(n, 100.0),
    )
    return Truth([image], names, tuple(range(1, len(names) + 1)))


def found(x, score, category=1):
    bbox = [x, 0, 10, 10]
    return {"image_id": 1, "category_id": category, "bbox": bbox, "score": score}


TWO = truth([[0, 0, 10, 10], [50, 0, 60, 10]])


@pytest.mark.parametrize(
    ("results", "want"),
    [
        ([found(0, 0.9), found(50, 0.8)], 1.0),
        ([found(0, 0.9)], 0.5),
        ([], 0.0),
        # One right of one, then one wrong, then two right of three.
        ([found(0, 0.9), found(25, 0.8), found(50, 0.7)], (1 + 2 / 3) / 2),
        # The second box on an object is wrong.
        ([found(0, 0.9), found(1, 0.8), found(50, 0.7)], (1 + 2 / 3) / 2),
    ],
)
def test_by_hand(results, want):
    assert voc_precision(TWO, results) == pytest.approx(want)


def test_difficult_objects_count_neither_way():
    difficult = truth([[0, 0, 10, 10], [50, 0, 60, 10]], crowd=[False, True])
    assert voc_precision(difficult, [found(50, 0.9), found(0, 0.8)]) == 1


def test_classes_without_objects_are_left_out():
    two = truth([[0, 0, 10, 10]], names=("cat", "dog"))
    assert voc_precision(two, [found(0, 0.9), found(0, 0.9, category=2)]) == 1
    assert voc_precision(truth([]), [found(0, 0.9)]) == -1


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(0, 5))
def test_the_area_is_that_under_the_best_precision_yet_to_come(right, missed):
    objects = sum(right) + missed
    if not objects:
        return
    flags = np.array(right)
    steps = [
        max(flags[: k + 1].mean() for k in range(i, len(flags)))
        for i in np.flatnonzero(flags)
    ]
    assert area(flags, objects) == pytest.approx(sum(steps) / objects)


def test_near_coco_s_on_the_golden_file():
    """101 recalls of the same curve, but for which object an uncertain box takes."""
    file = json.loads((golden.PUBLIC / "coco_eval.json").read_text())
    stated, images = file["ground_truth"], []
    numbers = [each["id"] for each in stated["categories"]]
    for image in stated["images"]:
        own = [a for a in stated["annotations"] if a["image_id"] == image["id"]]
        boxes = np.array([a["bbox"] for a in own], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = np.array([numbers.index(a["category_id"]) for a in own], np.int32)
        crowd = np.array([a["iscrowd"] for a in own], bool)
        areas = np.array([a["area"] for a in own], np.float64)
        size = image["height"], image["width"]
        images.append(
            Annotated(str(image["id"]), image["id"], size, boxes, labels, crowd, areas)
        )
    names = tuple(each["name"] for each in stated["categories"])
    whole = Truth(images, names, tuple(numbers))
    coco = average_precision(whole, file["detections"]).numbers["AP50"]
    assert voc_precision(whole, file["detections"]) == pytest.approx(coco, abs=0.05)
