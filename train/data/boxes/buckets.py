"""Few shapes for images of many: which, and the order of their batches.

A compiled program has one shape. Images are padded to one of a few, so that little is
wasted and little compiled. A batch is of one shape.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from train.data.rng import order

Shape = tuple[int, int]
NOBODY = -1  # the number of a place in a batch that has no image


def choose(sizes: Sequence[Shape], most: int) -> tuple[Shape, ...]:
    """The shapes that waste the fewest pixels, at most `most` of them.

    Sizes in the order of their ratio are cut into groups; a group's shape has the
    greatest height and width in it. The best cuts are found by dynamic programming.

    Args:
        sizes: the padded height and width of each image.
        most: shapes.

    Example:
        >>> choose([(800, 1088), (800, 1216), (1088, 800)], 2)
        ((800, 1216), (1088, 800))
    """
    unique, counts = np.unique(
        np.array(sizes).reshape(-1, 2), axis=0, return_counts=True
    )
    ratios = np.argsort(unique[:, 0] / unique[:, 1], kind="stable")
    unique, counts = unique[ratios], counts[ratios]
    count = len(unique)
    best = np.full((most + 1, count + 1), np.inf)
    best[:, 0] = 0
    cut = np.zeros((most + 1, count + 1), int)
    for k in range(1, most + 1):
        for end in range(1, count + 1):
            heights = np.maximum.accumulate(unique[:end, 0][::-1])[::-1]
            widths = np.maximum.accumulate(unique[:end, 1][::-1])[::-1]
            images = np.cumsum(counts[:end][::-1])[::-1]
            costs = best[k - 1, :end] + heights * widths * images
            cut[k, end] = int(np.argmin(costs))
            best[k, end] = costs[cut[k, end]]
    shapes, end, k = [], count, most
    while end > 0:
        begin = cut[k, end]
        height, width = unique[begin:end].max(axis=0)
        shapes.append((int(height), int(width)))
        end, k = begin, k - 1
    return tuple(dict.fromkeys(reversed(shapes)))


def bucket_of(size: Shape, shapes: Sequence[Shape]) -> int:
    """The number of the smallest shape that an image fits into.

    Raises:
        ValueError: it fits into none.
    """
    fits = [
        k
        for k, shape in enumerate(shapes)
        if size[0] <= shape[0] and size[1] <= shape[1]
    ]
    if not fits:
        raise ValueError(f"{size} fits into none of {[*shapes]}.")
    return min(fits, key=lambda k: shapes[k][0] * shapes[k][1])


class Batches(NamedTuple):
    """The batches of a pass over the images.

    Attributes:
        buckets: (n,) the shape of each.
        images: (n, b) the images of each, `NOBODY` where one only fills it up.
    """

    buckets: np.ndarray
    images: np.ndarray


def in_order(buckets: np.ndarray, batch_size: int) -> Batches:
    """All images in their order, bucket by bucket: for evaluation."""
    return _batches(buckets, batch_size, np.arange(len(buckets)))


@lru_cache(maxsize=4)
def shuffled(
    seed: int, epoch: int, buckets: tuple[int, ...], batch_size: int
) -> Batches:
    """Every image once, in whole batches of one shape but for each shape's last.

    A function of seed and epoch: the same in every process.
    """
    visits = order(seed, epoch, len(buckets))
    made = _batches(np.array(buckets), batch_size, visits)
    # Of another seed, so that batches and images are shuffled apart.
    mixed = order(seed ^ 0x5F5E5F, epoch, len(made.buckets))
    return Batches(made.buckets[mixed], made.images[mixed])


def _batches(buckets: np.ndarray, batch_size: int, visits: np.ndarray) -> Batches:
    of, images = [], []
    for bucket in np.unique(buckets):
        own = visits[buckets[visits] == bucket]
        count = -(-len(own) // batch_size)
        rows = np.full(count * batch_size, NOBODY, np.int32)
        rows[: len(own)] = own
        images.append(rows.reshape(count, batch_size))
        of += [bucket] * count
    return Batches(np.array(of, np.int32), np.concatenate(images))
