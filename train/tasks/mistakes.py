"""The most confident mistakes of a detector: what it was sure of, and wrong about."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from train.data.boxes.annotations import Annotated
from train.data.boxes.input import Truth
from train.data.boxes.overlap import overlaps

OVERLAP = 0.5  # with an object of its class, that makes a box right
NEAR = 0.1  # with one, that makes it only misplaced
AROUND = 0.6  # of a box's larger side, shown on each side of it


class Mistake(NamedTuple):
    """A box that is wrong.

    Attributes:
        number: of the image in the set.
        box: (4,) x1, y1, x2, y2, pixels.
        label: that it was given.
        score: of it.
        why: in a few words.
    """

    number: int
    box: np.ndarray
    label: int
    score: float
    why: str


def mistakes(
    truth: Truth, results: Sequence[Mapping[str, Any]], most: int
) -> list[Mistake]:
    """The wrong boxes of the highest scores, best first.

    Boxes take objects in the order of their scores, as in COCO's evaluation at an
    overlap of 0.5; one on a crowd is neither right nor wrong.

    Args:
        truth: of the set.
        results: in COCO's format.
        most: how many.
    """
    images = {image.id: i for i, image in enumerate(truth.images)}
    labels = {number: k for k, number in enumerate(truth.category_ids)}
    taken: defaultdict[int, set[int]] = defaultdict(set)
    found: list[Mistake] = []
    for each in sorted(results, key=lambda result: -result["score"]):
        index, label = images[each["image_id"]], labels[each["category_id"]]
        x, y, width, height = each["bbox"]
        box = np.array([x, y, x + width, y + height])
        why = _judged(truth, truth.images[index], box, label, taken[index])
        if why:
            found.append(Mistake(index, box, label, each["score"], why))
            if len(found) == most:
                break
    return found


def _judged(
    truth: Truth, image: Annotated, box: np.ndarray, label: int, taken: set[int]
) -> str:
    """What is wrong with a box, "" for nothing; it takes its object, if it has one."""
    shares = overlaps(box, image)
    own = image.labels == label
    free = np.array([i not in taken for i in range(len(own))], bool)
    right = own & free & ~image.crowd & (shares >= OVERLAP)
    if right.any():
        taken.add(int(np.argmax(np.where(right, shares, -1))))
        return ""
    if (own & image.crowd & (shares >= OVERLAP)).any():
        return ""
    if (own & (shares >= OVERLAP)).any():
        return "found twice"
    if (shares >= OVERLAP).any():
        return f"is {truth.class_names[image.labels[int(np.argmax(shares))]]}"
    return "misplaced" if (own & (shares >= NEAR)).any() else "nothing there"


class Cutout(NamedTuple):
    """A mistake with what is around it.

    Attributes:
        pixels: uint8 (h, w, 3).
        box: of the mistake, in these pixels.
        boxes: (n, 4) of the objects, likewise.
        labels: (n,) of the objects.
    """

    pixels: np.ndarray
    box: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray


def cutout(mistake: Mistake, image: np.ndarray, stated: Annotated) -> Cutout:
    """The part of an image (h, w, 3) that shows a mistake."""
    around = AROUND * (mistake.box[2:] - mistake.box[:2]).max() + 1
    edge = np.array([image.shape[1], image.shape[0]])
    low = np.clip(np.floor(mistake.box[:2] - around), 0, edge - 1).astype(int)
    high = np.clip(np.ceil(mistake.box[2:] + around), low + 1, edge).astype(int)
    within = (stated.boxes[:, :2] < high).all(1) & (stated.boxes[:, 2:] > low).all(1)
    limit = np.tile(high - low, 2)
    moved = np.clip(stated.boxes[within] - np.tile(low, 2), 0, limit)
    pixels = image[low[1] : high[1], low[0] : high[0]]
    return Cutout(pixels, mistake.box - np.tile(low, 2), moved, stated.labels[within])
