"""Pascal VOC's average precision at an overlap of 0.5, the usual one of small sets.

COCO's AP50 reads the precision at 101 recalls; VOC's, since 2010, is the whole area
under the curve, which does not step where a class has few objects.

Reference: Everingham et al., IJCV 2010 and the development kit of 2010.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from train.data.boxes.annotations import Annotated
from train.data.boxes.input import Truth
from train.data.boxes.overlap import overlaps

OVERLAP = 0.5
NOTHING = -1.0  # of classes without ground truth


def voc_precision(truth: Truth, results: Sequence[Mapping[str, Any]]) -> float:
    """The mean over the classes of the area under precision over recall.

    Each box, best first, takes the object of its class that it overlaps most; an
    object is found once. Crowds, VOC's difficult objects, count neither way.

    Args:
        truth: of the set.
        results: in COCO's format.

    Returns:
        A share; -1 if the set has no object.
    """
    each = [_of_class(truth, results, label) for label in range(len(truth.class_names))]
    there = [value for value in each if value != NOTHING]
    return float(np.mean(there)) if there else NOTHING


def area(right: np.ndarray, objects: int) -> float:
    """The area under the curve of boxes in the order of their scores.

    Precision at a recall is the best at that recall or a higher one.

    Args:
        right: bool (n,), whether each box found an object.
        objects: how many there are.

    Example:
        >>> area(np.array([True, False, True]), objects=2)
        0.8333333333333333
    """
    found = np.cumsum(right)
    precision = found / np.arange(1, len(right) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    # Recall grows by 1 / objects at each box that is right.
    return float(best[right].sum() / objects)


def _of_class(truth: Truth, results: Sequence[Mapping[str, Any]], label: int) -> float:
    number = truth.category_ids[label]
    images = {image.id: image for image in truth.images}
    wanted = {i: image.labels == label for i, image in images.items()}
    objects = sum(int((wanted[i] & ~image.crowd).sum()) for i, image in images.items())
    if not objects:
        return NOTHING
    taken = {i: np.zeros(len(image.labels), bool) for i, image in images.items()}
    own = (each for each in results if each["category_id"] == number)
    judged = []
    for each in sorted(own, key=lambda result: -result["score"]):
        i = each["image_id"]
        right = _finds(images[i], each["bbox"], wanted[i], taken[i])
        if right is not None:
            judged.append(right)
    return area(np.array(judged, bool), objects)


def _finds(
    image: Annotated, bbox: Sequence[float], wanted: np.ndarray, taken: np.ndarray
) -> bool | None:
    """Whether a box finds an object, which is taken then; None if it does not count."""
    x, y, width, height = bbox
    shares = overlaps(np.array([x, y, x + width, y + height]), image)
    shares = np.where(wanted, shares, -1)
    best = int(np.argmax(shares)) if len(shares) else 0
    if not len(shares) or shares[best] < OVERLAP:
        return False
    if image.crowd[best]:
        return None
    fresh = not taken[best]
    taken[best] = True
    return bool(fresh)
