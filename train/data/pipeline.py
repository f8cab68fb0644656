"""From a source to batches: any step's batch can be asked for at any time."""

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np

from train.data.augment import Draws, draw, random_crop_flip
from train.data.input import Batch
from train.data.order import ALONE, Shard, order
from train.data.source import ArraySource

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class TrainBatches:
    """Shuffled, augmented batches, each a function of (seed, step) alone.

    Every epoch visits the images in an order of its own, each at most once; the
    images that do not fill a last batch are left out of that epoch.

    Attributes:
        source: the images.
        batch_size: images in a batch, over all devices and processes.
        seed: decides order, crops and flips.
        crop_padding: pixels of padding for random crops; 0 for no crops.
        flip: whether to mirror at random.
        shard: whose rows of the batches are made.

    Raises:
        ValueError: the batch is empty or larger than the source, or the padding is
            negative.
    """

    source: ArraySource
    batch_size: int
    seed: int
    crop_padding: int = 0
    flip: bool = False
    shard: Shard = ALONE

    def __post_init__(self) -> None:
        """Refuse sizes that make no batch."""
        if not 1 <= self.batch_size <= len(self.source):
            raise ValueError(
                "batch_size must lie between 1 and the number of images: got "
                f"batch_size {self.batch_size} and {len(self.source)} images; use a "
                "smaller batch or more images"
            )
        if self.crop_padding < 0:
            raise ValueError(
                f"crop_padding counts pixels from 0 up: got {self.crop_padding}; 0 "
                "means no random crops"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in one pass over the images."""
        return len(self.source) // self.batch_size

    def __call__(self, step: int) -> Batch:
        """Make the batch of one step.

        Args:
            step: counted from 0 over the whole run.

        Returns:
            image uint8 (b, h, w, c), label int32 (b,), index int32 (b,): the images'
            places in the source.

        Raises:
            ValueError: `step` is negative.
        """
        if step < 0:
            raise ValueError(f"steps count from 0 up: got {step}")
        epoch, batch = divmod(step, self.steps_per_epoch)
        visits = order(self.seed, epoch, len(self.source))
        index = visits[batch * self.batch_size : (batch + 1) * self.batch_size]
        index = index[self.shard.rows(self.batch_size)]
        return {
            "image": self._augment(self.source.images[index], index, epoch),
            "label": self.source.labels[index],
            "index": index,
        }

    def _augment(self, images: np.ndarray, index: np.ndarray, epoch: int) -> np.ndarray:
        if not (self.crop_padding or self.flip):
            return images
        draws = _draws(self.seed, epoch, len(self.source), self.crop_padding, self.flip)
        return random_crop_flip(images, draws.take(index), self.crop_padding)


def eval_batches(
    source: ArraySource, batch_size: int, shard: Shard = ALONE
) -> Generator[Batch]:
    """Walk through a source in order, every image exactly once.

    Args:
        source: the images.
        batch_size: the same for all batches, so that one compiled step serves.
        shard: whose rows of the batches are made, b of them.

    Yields:
        image uint8 (b, h, w, c), label int32 (b,), mask float32 (b,): 1 for an image,
        0 for the black images of label 0 that fill up the last batch.

    Raises:
        ValueError: `batch_size` is not positive.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1: got {batch_size}")
    for start in range(0, len(source), batch_size):
        part = slice(start, start + batch_size)
        images, labels = source.images[part], source.labels[part]
        fill = batch_size - len(labels)
        whole = {
            "image": np.pad(images, ((0, fill), (0, 0), (0, 0), (0, 0))),
            "label": np.pad(labels, (0, fill)),
            "mask": np.pad(np.ones(len(labels), np.float32), (0, fill)),
        }
        rows = shard.rows(batch_size)
        yield {name: array[rows] for name, array in whole.items()}


def prefetch(
    make: Callable[[int], T], start: int, stop: int, depth: int = 2
) -> Generator[T]:
    """Make batches in a background thread, ahead of their use and in order.

    Args:
        make: the batch of a step, such as a `TrainBatches`.
        start: the first step.
        stop: the step after the last.
        depth: how many batches may wait.

    Yields:
        make(start), ..., make(stop - 1). What `make` raises is raised here, at the
        step it belongs to; closing or dropping the generator ends the thread.

    Raises:
        ValueError: `depth` is not positive.
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1: got {depth}")
    pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    try:
        ahead = deque(
            pool.submit(make, s) for s in range(start, min(start + depth, stop))
        )
        for step in range(start, stop):
            batch = ahead.popleft().result()
            if step + depth < stop:
                ahead.append(pool.submit(make, step + depth))
            yield batch
    finally:
        # Without waiting: the consumer may be leaving because of an error.
        pool.shutdown(wait=False, cancel_futures=True)


# A few epochs: training is in one, its prefetching may be in the next.
@lru_cache(maxsize=4)
def _draws(seed: int, epoch: int, images: int, padding: int, flip: bool) -> Draws:
    return draw(seed, epoch, images, padding=padding, flip=flip)
