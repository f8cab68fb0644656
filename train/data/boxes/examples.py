"""From a place in the run to one image with its boxes: what workers compute."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from train.data.boxes.annotations import BoxSet
from train.data.boxes.augment import Augment, kept_within, moved_into
from train.data.boxes.buckets import NOBODY, Batches, Shape, shuffled
from train.data.boxes.resize import Fitted, fit, fitted, on_canvas
from train.data.images.decode import BadImage
from train.data.input import DataError, Shard

Example = dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """How images become examples.

    Attributes:
        limits: of the shorter and the longer side, see `resize.fitted`.
        shapes: that images are padded to.
        places: boxes that an example has room for.
        augment: how training images vary.
        skip: whether a bad image becomes an empty example; else it is an error.
    """

    limits: tuple[int, int]
    shapes: tuple[Shape, ...]
    places: int
    augment: Augment
    skip: bool


@dataclass(frozen=True, eq=False)
class TrainExamples:
    """Place in the run -> training example.

    Attributes:
        images: the split.
        rule: how they are cut.
        buckets: the number of each image's shape.
        batch_size: of all processes.
        seed: decides order and flips.
        shard: whose rows are counted.
    """

    images: BoxSet
    rule: Rule
    buckets: tuple[int, ...]
    batch_size: int
    seed: int
    shard: Shard

    @property
    def batches(self) -> int:
        """Of an epoch."""
        return len(shuffled(self.seed, 0, self.buckets, self.batch_size).buckets)

    def __call__(self, place: int) -> Example:
        """The example at a place; 0..b-1 are this process's rows of step 0, and so on.

        Returns:
            See `example`; skipped 1 for a bad image, which is empty then.
        """
        rows = self.shard.rows(self.batch_size)
        step, row = divmod(place, rows.stop - rows.start)
        epoch, batch = divmod(step, self.batches)
        made = shuffled(self.seed, epoch, self.buckets, self.batch_size)
        shape = self.rule.shapes[made.buckets[batch]]
        index = int(made.images[batch, rows.start + row])
        return example(self.images, self.rule, index, shape, (self.seed, epoch))


@dataclass(frozen=True, eq=False)
class TestExamples:
    """Place in the evaluation -> example.

    Attributes:
        images: the split.
        rule: how they are cut.
        batches: of the whole split, in a fixed order.
        shard: whose rows are counted.
    """

    images: BoxSet
    rule: Rule
    batches: Batches
    shard: Shard

    def __call__(self, place: int) -> Example:
        """See `TrainExamples`."""
        rows = self.shard.rows(self.batches.images.shape[1])
        batch, row = divmod(place, rows.stop - rows.start)
        index = int(self.batches.images[batch, rows.start + row])
        shape = self.rule.shapes[self.batches.buckets[batch]]
        return example(self.images, self.rule, index, shape)


def example(
    images: BoxSet,
    rule: Rule,
    index: int,
    shape: Shape,
    visit: tuple[int, int] | None = None,
) -> Example:
    """One image with its boxes, padded to a shape and to a number of places.

    Args:
        images: the split.
        rule: how they are cut.
        index: of the image.
        shape: that it is padded to.
        visit: seed and epoch that decide how it varies; None: not at all.

    Returns:
        image uint8 (h, w, 3), size int32 (2,) its own rows and columns, scale float32
        (2,), boxes float32 (m, 4), label int32 (m,), valid and crowd bool (m,), index
        int32, mask float32: 0 for a place without an image; skipped int32.
    """
    if index == NOBODY:
        return _empty(rule, NOBODY, shape, skipped=0)
    stated = images.images[index]
    try:
        pixels = images.read(index)
    except BadImage as error:
        if not rule.skip:
            raise DataError(
                f"{stated.name} is no good: {error}. Mend the file, or train without "
                "it: --data.on-bad-image skip."
            ) from error
        return _empty(rule, index, shape, skipped=1)
    found, kept = _fitted(pixels, stated.boxes, rule, index, visit)
    n, made = len(found.boxes), _empty(rule, index, shape, skipped=0)
    made["image"] = on_canvas(found.image, shape)
    made["size"][:] = found.image.shape[:2]
    made["scale"][:] = found.scale
    made["boxes"][:n], made["label"][:n] = found.boxes, stated.labels[kept]
    made["valid"][:n], made["crowd"][:n] = True, stated.crowd[kept]
    return made | {"mask": np.float32(1)}


def _fitted(
    pixels: np.ndarray,
    boxes: np.ndarray,
    rule: Rule,
    index: int,
    visit: tuple[int, int] | None,
) -> tuple[Fitted, Any]:
    """The image and its boxes in their new size, and which of its boxes these are."""
    size = pixels.shape[0], pixels.shape[1]
    everything = slice(None)
    if visit is None:
        return fit(pixels, boxes, fitted(size, rule.limits)), everything
    draw, place = rule.augment, (*visit, index)
    # Of the whole image also where a window is taken, so that it fits into its shape.
    target = fitted(size, draw.limits(*place, rule.limits))
    flip, window = draw.flips(*place), draw.window(*place, size)
    if window is None:
        return fit(pixels, boxes, target, flip), everything
    kept = kept_within(boxes, window)
    y, x, height, width = window
    part = np.ascontiguousarray(pixels[y : y + height, x : x + width])
    return fit(part, moved_into(boxes[kept], window), target, flip), kept


def _empty(rule: Rule, index: int, shape: Shape, skipped: int) -> Example:
    """A black image without a box; of a row and a column, so that nothing is 0 / 0."""
    return {
        "image": np.zeros((*shape, 3), np.uint8),
        "size": np.ones(2, np.int32),
        "scale": np.ones(2, np.float32),
        "boxes": np.zeros((rule.places, 4), np.float32),
        "label": np.zeros(rule.places, np.int32),
        "valid": np.zeros(rule.places, bool),
        "crowd": np.zeros(rule.places, bool),
        "index": np.int32(index),
        "mask": np.float32(0),
        "skipped": np.int32(skipped),
    }
