"""How much a box and the objects of an image share."""

import numpy as np

from train.data.boxes.annotations import Annotated


def overlaps(box: np.ndarray, image: Annotated) -> np.ndarray:
    """Intersection over union of a box with each object (n,).

    With a crowd it is the share of the box that lies on the crowd, as in COCO's
    evaluation: a region has no boundary to agree on.

    Args:
        box: (4,) x1, y1, x2, y2, pixels.
        image: with its n objects.

    Example:
        >>> none = np.zeros(1, bool)
        >>> boxes = np.array([[0, 0, 10, 10]], np.float32)
        >>> image = Annotated("it", 1, (20, 20), boxes, np.zeros(1, int), none, none)
        >>> overlaps(np.array([0, 0, 10, 5]), image)
        array([0.5])
    """
    low = np.maximum(box[:2], image.boxes[:, :2])
    high = np.minimum(box[2:], image.boxes[:, 2:])
    shared = np.maximum(high - low, 0).prod(axis=1)
    area = (box[2:] - box[:2]).prod()
    areas = (image.boxes[:, 2:] - image.boxes[:, :2]).prod(axis=1)
    union = np.where(image.crowd, area, area + areas - shared)
    return shared / np.maximum(union, np.finfo(float).tiny)
