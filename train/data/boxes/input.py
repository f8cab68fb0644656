"""The batches of a run of a detector, and what an evaluation compares with."""

import itertools
import logging
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from train.data.boxes.annotations import Annotated, BoxSet, BoxSplits
from train.data.boxes.augment import Augment
from train.data.boxes.buckets import NOBODY, Shape, bucket_of, choose, in_order
from train.data.boxes.examples import Rule, TestExamples, TrainExamples
from train.data.boxes.files import Limits
from train.data.boxes.resize import fitted, padded
from train.data.images.decode import BadImage, decode
from train.data.input import ALONE, Batch, DataError, Shard
from train.data.pipeline import SplitInput
from train.data.records.base import read_file
from train.data.workers import check_shared_memory, stream

# Places for boxes that a program is compiled for.
PLACES = (100, 300, 1_000, 3_000, 10_000)
log = logging.getLogger("train")


class Truth(NamedTuple):
    """What the boxes that are found on test images are compared with.

    Attributes:
        images: of the split.
        class_names: in the order of the labels.
        category_ids: the set's own number of each class.
    """

    images: Sequence[Annotated]
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]


class BoxInput(SplitInput):
    """An `Input` of images with boxes, made by workers.

    Args:
        splits: training and test images.
        limits: of the sides, see `resize.fitted`.
        most: shapes that images are padded to.
        places: for boxes; None takes what the data need.
        batch_size: of training, over all processes.
        eval_batch_size: of testing, over all processes.
        seed: decides order and how images vary.
        augment: how training images vary.
        skip: whether bad images are left out; else they are errors.
        files: what an image file may have.
        workers: processes that decode; 0 for threads.
        prefetch: batches that each worker makes ahead.
        shard: this process among those of the run.

    Raises:
        DataError: nothing to train or to test on, or more boxes than places.
        ValueError: the machine has too little shared memory for the workers.
    """

    def __init__(
        self,
        splits: BoxSplits,
        *,
        limits: tuple[int, int],
        most: int,
        places: int | None,
        batch_size: int,
        eval_batch_size: int,
        seed: int = 0,
        augment: Augment = Augment(),  # noqa: B008  a frozen one
        skip: bool = False,
        files: Limits = Limits(),  # noqa: B008  a frozen one
        workers: int = 0,
        prefetch: int = 2,
        shard: Shard = ALONE,
    ):
        self.splits, self.files, self.shard = splits, files, shard
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.workers, self.prefetch, self.skipped = workers, prefetch, 0
        _require_images(splits)
        sizes = [[padded(fitted(i.size, limits)) for i in s.images] for s in splits]
        shapes = choose([*itertools.chain(*sizes)], most)
        own = places_for(splits, places)
        self.rule = Rule(limits, shapes, own, augment, skip)
        train, test = ([bucket_of(s, shapes) for s in split] for split in sizes)
        self._train = TrainExamples(
            splits.train, self.rule, tuple(train), batch_size, seed, shard
        )
        batches = in_order(np.array(test), eval_batch_size)
        self._test = TestExamples(splits.test, self.rule, batches, shard)
        largest = max(math.prod(shape) for shape in shapes)
        share = (batch_size + eval_batch_size) // shard.count
        check_shared_memory(3 * largest * share * workers * (prefetch + 2))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class, in the order of the labels."""
        return self.splits.train.class_names

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The largest shape (h, w, 3) of an image as the network gets it."""
        return *max(self.rule.shapes, key=math.prod), 3

    @property
    def epoch_batches(self) -> int:
        """Steps in which every training image comes once."""
        return self._train.batches

    @property
    def truth(self) -> Truth:
        """Of the test images."""
        test = self.splits.test
        return Truth(test.images, test.class_names, test.category_ids)

    def about(self) -> list[str]:
        """What the data made of shapes and places, and what of them was left out."""
        shapes = ", ".join(f"{h}×{w}" for h, w in self.rule.shapes)
        lines = [f"shapes {shapes}; room for {self.rule.places:,} boxes an image"]
        for name, split in zip(("train", "test"), self.splits, strict=True):
            said = (
                f"{count:,} {what}" for what, count in sorted(split.left_out.items())
            )
            if text := ", ".join(said):
                lines.append(f"{name}: {text}")
        return lines

    def train(self, start: int, stop: int) -> Generator[Batch]:
        """This process's rows of the batches of steps start..stop - 1."""
        share = self.batch_size // self.shard.count
        places = range(start * share, stop * share)
        yield from self._batches(self._train, places, share)

    def test(self) -> Generator[Batch]:
        """This process's rows of the test batches."""
        share = self.eval_batch_size // self.shard.count
        count = len(self._test.batches.buckets)
        yield from self._batches(self._test, range(count * share), share)

    def sample(self, count: int) -> tuple[list[np.ndarray], list[Annotated]]:
        """The first test images that can be read, and what is on them."""
        test, images, stated = self.splits.test, [], []
        for index in range(len(test)):
            if len(images) == count:
                break
            try:
                images.append(test.read(index))
            except BadImage:
                continue
            stated.append(test.images[index])
        return images, stated

    def read(self, path: Path) -> np.ndarray:
        """Any image file in its own size."""
        return read_photo(path, self.files)

    def _batches(self, examples, places: range, share: int) -> Generator[Batch]:
        made = stream(
            examples, places, share, workers=self.workers, prefetch=self.prefetch
        )
        for batch in made:
            self._report(examples.images, batch)
            yield batch

    def _report(self, images: BoxSet, batch: Batch) -> None:
        """Counts and names the bad images that a batch is without."""
        for row in np.flatnonzero(batch.pop("skipped")):
            self.skipped += 1
            index = int(batch["index"][row])
            try:
                images.read(index)
            except BadImage as error:
                log.warning("skipped %s: %s", images.images[index].name, error)
            batch["index"][row] = NOBODY


def read_photo(path: Path, files: Limits) -> np.ndarray:
    """Any image file, uint8 (h, w, 3) in its own size, upright.

    Raises:
        ValueError: it is no image file, or too large.
    """
    try:
        return decode(read_file(path, files.bytes), max_pixels=files.pixels)
    except BadImage as error:
        raise ValueError(f"images must be image files: {path}: {error}.") from error


def places_for(splits: BoxSplits, asked: int | None) -> int:
    """Places for the boxes of an image: those asked for, or the least that is enough.

    Raises:
        DataError: an image has more; no box is ever left out for want of a place.
    """
    most = max(split.most_boxes for split in splits)
    places = asked or next((p for p in PLACES if p >= most), most)
    if most > places:
        raise DataError(
            f"every box needs a place: an image has {most:,} boxes, data.places is "
            f"{places:,}. Leave data.places out to take what the data need."
        )
    return places


def _require_images(splits: BoxSplits) -> None:
    for name, split in zip(("train", "test"), splits, strict=True):
        if not len(split):
            raise DataError(f"there is no image to {name} on: {dict(split.left_out)}.")
    if not any(len(image.labels) for image in splits.train.images):
        raise DataError("no training image has a box: nothing could be learned.")


@dataclass(frozen=True, eq=False)
class BoxPhotos:
    """An `Input` for any photo, where the images of the run need not be.

    Attributes:
        class_names: of the run.
        image_shape: the largest (h, w, 3) of its training.
        files: what an image file may have.
    """

    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    files: Limits
    train_images: int = 0
    test_images: int = 0
    epoch_batches: int = 1
    digests: tuple[str, str] = "", ""
    skipped: int = 0
    truth: Truth | None = None

    def read(self, path: Path) -> np.ndarray:
        """Any image file in its own size."""
        return read_photo(path, self.files)


class FakeRule(NamedTuple):
    """Shapes and places without images, see `examples.Rule`."""

    shapes: tuple[Shape, ...]
    places: int


@dataclass(frozen=True, eq=False)
class FakeBoxes:
    """An `Input` of a set's sizes alone, for `preflight`.

    Attributes:
        class_names: of the set.
        image_shape: the largest (h, w, 3).
        places: for the boxes of an image.
        train_images: how many there are.
        epoch_batches: steps of an epoch.
    """

    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    places: int
    train_images: int
    epoch_batches: int
    test_images: int = 0
    skipped: int = 0
    truth: Truth | None = None

    @property
    def rule(self) -> FakeRule:
        """One shape."""
        return FakeRule((self.image_shape[:2],), self.places)
