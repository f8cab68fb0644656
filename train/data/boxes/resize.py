"""Images and their boxes brought to the size that a detector takes.

Reference: the detection library that the paper's authors used, its Resize, Pad and
RandomFlip; cv2's bilinear filter.
"""

from typing import NamedTuple

import cv2
import numpy as np

# A padded side is a multiple of this: the largest stride of the pyramid's features.
MULTIPLE = 32


def fitted(size: tuple[int, int], limits: tuple[int, int]) -> tuple[int, int]:
    """The size of an image that is enlarged or reduced with its ratio kept.

    s = min(long / longer side, short / shorter side), each side ⌊side · s + ½⌋.

    Args:
        size: height and width, pixels.
        limits: the shorter side is at most the first, the longer at most the second.

    Example:
        >>> fitted((480, 640), (800, 1333))
        (800, 1067)
    """
    scale = min(limits[1] / max(size), limits[0] / min(size))
    height, width = (max(int(side * scale + 0.5), 1) for side in size)
    return height, width


def padded(size: tuple[int, int]) -> tuple[int, int]:
    """The next multiples of 32.

    Example:
        >>> padded((800, 1067))
        (800, 1088)
    """
    height, width = (-(-side // MULTIPLE) * MULTIPLE for side in size)
    return height, width


class Fitted(NamedTuple):
    """An image and its boxes in their new size.

    Attributes:
        image: uint8 (h, w, 3).
        boxes: float32 (n, 4), within the image.
        scale: float32 (2,), new width over old, new height over old.
    """

    image: np.ndarray
    boxes: np.ndarray
    scale: np.ndarray


def fit(
    image: np.ndarray, boxes: np.ndarray, size: tuple[int, int], flip: bool = False
) -> Fitted:
    """Resizes an image (h, w, 3) with its boxes (n, 4), then mirrors it if asked."""
    old = image.shape[0], image.shape[1]
    height, width = size
    if (height, width) != old:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    scale = np.array([width / old[1], height / old[0]], np.float32)
    edge = np.array([width, height] * 2, np.float32)
    boxes = np.clip(boxes * np.tile(scale, 2), 0, edge).astype(np.float32)
    if flip:
        image = np.ascontiguousarray(image[:, ::-1])
        left, right = width - boxes[:, 2], width - boxes[:, 0]
        boxes = np.stack([left, boxes[:, 1], right, boxes[:, 3]], axis=1)
    return Fitted(image, boxes, scale)


def on_canvas(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The image at the upper left of a black one of a larger shape."""
    canvas = np.zeros((*shape, image.shape[2]), np.uint8)
    canvas[: image.shape[0], : image.shape[1]] = image
    return canvas
