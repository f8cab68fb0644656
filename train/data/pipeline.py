"""The batches of a run: of images in memory, or in files of whatever format."""

import itertools
import logging
import math
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from train.data.examples import Sizes, TestExamples, TrainExamples
from train.data.images.decode import BadImage, decode
from train.data.input import ALONE, Batch, Shard
from train.data.photos import cut_photo, fit_photo
from train.data.prefetch import prefetch
from train.data.records.arrays import Splits, TrainBatches, eval_batches
from train.data.records.base import Records, RecordSplits
from train.data.workers import check_shared_memory, stream


class SplitInput:
    """What an `Input` says of its two splits, whatever holds them."""

    splits: Any
    batch_size: int

    def about(self) -> list[str]:
        """Nothing."""
        return []

    @property
    def epoch_batches(self) -> int:
        """Whole batches of one pass over the training images."""
        return len(self.splits.train) // self.batch_size

    @property
    def train_images(self) -> int:
        """Images to train on."""
        return len(self.splits.train)

    @property
    def test_images(self) -> int:
        """Images to test on."""
        return len(self.splits.test)

    @property
    def digests(self) -> tuple[str, str]:
        """Of the lists of training and of test images."""
        return self.splits.train.digest, self.splits.test.digest


@dataclass(frozen=True, eq=False)
class ArrayInput(SplitInput):
    """An `Input` of arrays.

    Attributes:
        splits: training and test images.
        batch_size: of training, over all processes.
        eval_batch_size: of testing, over all processes.
        seed: decides order, crops and flips.
        crop_padding: pixels of padding for random crops; 0 for no crops.
        flip: whether to mirror at random.
        depth: batches made ahead.
        largest: most pixels of an image file that `read` accepts.
        shard: this process among those of the run.
    """

    splits: Splits
    batch_size: int
    eval_batch_size: int
    seed: int
    crop_padding: int = 0
    flip: bool = False
    depth: int = 2
    largest: int = 100_000_000
    shard: Shard = ALONE
    skipped: int = 0

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class, in the order of the labels."""
        return self.splits.train.class_names

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape (h, w, c) of one image."""
        return self.splits.train.image_shape

    def train(self, start: int, stop: int) -> Generator[Batch]:
        """This process's rows of the batches of steps start..stop - 1."""
        make = TrainBatches(
            self.splits.train,
            self.batch_size,
            self.seed,
            self.crop_padding,
            self.flip,
            self.shard,
        )
        return prefetch(make, start, stop, self.depth)

    def test(self) -> Generator[Batch]:
        """This process's rows of the test batches."""
        return eval_batches(self.splits.test, self.eval_batch_size, self.shard)

    def sample(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The first test images and their labels."""
        test = self.splits.test
        return test.images[:count], test.labels[:count]

    def read(self, path: Path) -> np.ndarray:
        """An image file in the size and colours of the data set."""
        return fit_photo(path, self.image_shape, self.largest)


log = logging.getLogger("train")


class RecordInput(SplitInput):
    """An `Input` of image files, decoded in worker processes.

    Args:
        splits: the image files.
        sizes: how they are cut.
        batch_size: of training, over all processes.
        eval_batch_size: of testing, over all processes.
        seed: decides order, crops, flips and RandAugment.
        skip_bad: whether bad images are skipped; else they are errors.
        max_bytes: most bytes of a file that `read` accepts.
        randaugment: operations; 0 for none.
        magnitude: RandAugment's strength.
        workers: processes that decode; 0 for threads.
        prefetch: batches that each worker makes ahead.
        shard: this process among those of the run.

    Raises:
        ValueError: the machine has too little shared memory for the workers.
    """

    def __init__(
        self,
        splits: RecordSplits,
        sizes: Sizes,
        *,
        batch_size: int,
        eval_batch_size: int,
        seed: int = 0,
        skip_bad: bool = False,
        max_bytes: int = 64 << 20,
        randaugment: int = 0,
        magnitude: float = 9.0,
        workers: int = 0,
        prefetch: int = 2,
        shard: Shard = ALONE,
    ):
        self.splits, self.sizes, self.max_bytes = splits, sizes, max_bytes
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.workers, self.prefetch, self.shard = workers, prefetch, shard
        self.skipped = 0
        self._check_room()
        self._train = TrainExamples(
            splits.train,
            sizes,
            batch_size,
            seed,
            skip_bad,
            shard,
            randaugment,
            magnitude,
        )
        self._test = TestExamples(splits.test, sizes, eval_batch_size, skip_bad, shard)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class, in the order of the labels."""
        return self.splits.train.class_names

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape (h, w, c) of one image, as the network gets it."""
        return self.sizes.image_size, self.sizes.image_size, 3

    def train(self, start: int, stop: int) -> Generator[Batch]:
        """This process's rows of the batches of steps start..stop - 1."""
        share = self.batch_size // self.shard.count
        places = range(start * share, stop * share)
        for batch in self._stream(self._train, places, share):
            self._report(self.splits.train, batch)
            yield batch

    def test(self) -> Generator[Batch]:
        """This process's rows of the test batches."""
        share = self.eval_batch_size // self.shard.count
        batches = -(-self.test_images // self.eval_batch_size)
        for batch in self._stream(self._test, range(batches * share), share):
            self._report(self.splits.test, batch)
            del batch["index"]
            yield batch

    def sample(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The first test images that can be decoded, and their labels."""
        # Its own order: place i is image i in every process.
        look = TestExamples(self.splits.test, self.sizes, 1, True, ALONE)
        examples = (look(index) for index in range(self.test_images))
        good = itertools.islice((e for e in examples if e["mask"]), count)
        images, labels = zip(*((e["image"], e["label"]) for e in good), strict=True)
        return np.stack(images), np.stack(labels)

    def read(self, path: Path) -> np.ndarray:
        """An image file as the test images are cut."""
        return cut_photo(path, self.sizes, self.max_bytes)

    def _stream(self, examples, places: range, share: int) -> Generator[Batch]:
        return stream(
            examples, places, share, workers=self.workers, prefetch=self.prefetch
        )

    def _check_room(self) -> None:
        """Workers of training and of testing may hold their batches at one time."""
        share = (self.batch_size + self.eval_batch_size) // self.shard.count
        # Those made ahead, one in the making, one in use.
        batches = self.workers * (self.prefetch + 2)
        check_shared_memory(batches * share * math.prod(self.image_shape))

    def _report(self, records: Records, batch: Batch) -> None:
        """Counts and names the bad images that a batch was made without."""
        skipped = batch.pop("skipped")
        for row in np.flatnonzero(skipped):
            for offset in range(skipped[row]):
                bad = (int(batch["index"][row]) + offset) % len(records)
                self.skipped += 1
                log.warning(
                    "skipped %s: %s", records.name(bad), self._why(records, bad)
                )

    def _why(self, records: Records, index: int) -> str:
        """The reason, found again here: workers hand over numbers only."""
        try:
            decode(records[index].data, max_pixels=self.sizes.max_pixels)
        except BadImage as error:
            return str(error)
        return "it can be read now"
