"""Images that fit in memory, as the program asks for them."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from train.data.input import Batch
from train.data.order import ALONE, Shard
from train.data.pipeline import TrainBatches, eval_batches, prefetch
from train.data.reading import fit_photo
from train.data.source import Splits


@dataclass(frozen=True, eq=False)
class ArrayInput:
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
