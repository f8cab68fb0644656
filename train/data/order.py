"""In which order images come, and whose they are: functions of (seed, epoch)."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from train.data.rng import words


@dataclass(frozen=True)
class Shard:
    """One of the processes that share every batch.

    Attributes:
        index: which one, from 0.
        count: how many there are.
    """

    index: int = 0
    count: int = 1

    def rows(self, batch_size: int) -> slice:
        """The rows of a batch that are this process's; all have equally many.

        Args:
            batch_size: images in the whole batch, a multiple of `count`.

        Returns:
            A slice of `batch_size` / `count` rows.

        Raises:
            ValueError: the batch does not divide.
        """
        if batch_size % self.count:
            raise ValueError(
                f"a batch must divide among the processes: got {batch_size} images and "
                f"{self.count} processes"
            )
        share = batch_size // self.count
        return slice(self.index * share, (self.index + 1) * share)


# A run of one process.
ALONE = Shard()


# A few epochs: training is in one, its prefetching may be in the next.
@lru_cache(maxsize=4)
def order(seed: int, epoch: int, images: int) -> np.ndarray:
    """The order in which an epoch visits the images.

    Args:
        seed: the run's seed.
        epoch: the pass over the data.
        images: n, how many there are.

    Returns:
        int32 (n,), each of 0..n-1 once; read-only, shared by all who ask.
    """
    shuffled = np.argsort(words(seed, epoch, "order", images), kind="stable")
    shuffled = shuffled.astype(np.int32)
    shuffled.flags.writeable = False
    return shuffled
