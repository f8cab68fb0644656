"""From a place in the run to one image with its boxes: what workers compute."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from train.data.boxes.annotations import BoxSet
from train.data.boxes.buckets import NOBODY, Batches, Shape, shuffled
from train.data.boxes.resize import fit, on_canvas
from train.data.images.decode import BadImage
from train.data.input import DataError, Shard
from train.data.rng import words_at

Example = dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """How images become examples.

    Attributes:
        limits: of the shorter and the longer side, see `resize.fitted`.
        shapes: that images are padded to.
        places: boxes that an example has room for.
        flip: whether half of the training images are mirrored.
        skip: whether a bad image becomes an empty example; else it is an error.
    """

    limits: tuple[int, int]
    shapes: tuple[Shape, ...]
    places: int
    flip: bool
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
        flip = False
        if self.rule.flip and index != NOBODY:
            flip = bool(
                words_at(self.seed, epoch, "flip", index, 1)[0] >> np.uint64(63)
            )
        return example(self.images, self.rule, index, shape, flip)


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
        return example(self.images, self.rule, index, shape, flip=False)


def example(
    images: BoxSet, rule: Rule, index: int, shape: Shape, flip: bool
) -> Example:
    """One image with its boxes, padded to a shape and to a number of places.

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
    found = fit(pixels, stated.boxes, rule.limits, flip)
    n, made = len(found.boxes), _empty(rule, index, shape, skipped=0)
    made["image"] = on_canvas(found.image, shape)
    made["size"][:] = found.image.shape[:2]
    made["scale"][:] = found.scale
    made["boxes"][:n], made["label"][:n] = found.boxes, stated.labels
    made["valid"][:n], made["crowd"][:n] = True, stated.crowd
    return made | {"mask": np.float32(1)}


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
