"""What the program asks of its images, whatever they are kept in."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

Batch = dict[str, np.ndarray]


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


class DataError(RuntimeError):
    """The images cannot be had any more: a bad file, a dead worker."""


class Input(Protocol):
    """Training and test images in batches, for one of the processes of a run.

    Every batch is a function of the step alone; nothing of an input is ever saved.
    """

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class, in the order of the labels."""
        ...

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape (h, w, c) of one image, as the network gets it."""
        ...

    @property
    def train_images(self) -> int:
        """Images to train on, of all processes."""
        ...

    @property
    def test_images(self) -> int:
        """Images to test on, of all processes."""
        ...

    @property
    def epoch_batches(self) -> int:
        """Steps of one pass over the training images."""
        ...

    @property
    def digests(self) -> tuple[str, str]:
        """Of the lists of training and of test images: others have others."""
        ...

    @property
    def skipped(self) -> int:
        """How often this process has left a bad image out so far."""
        ...

    def about(self) -> list[str]:
        """What a run says of them at its start, in lines; most inputs say nothing."""
        return []

    def train(self, start: int, stop: int) -> Generator[Batch]:
        """This process's rows of the batches of steps start..stop - 1.

        Closing the generator ends what makes the batches.

        Yields:
            image uint8 (b, h, w, c), label int32 (b,), index int32 (b,).
        """
        ...

    def test(self) -> Generator[Batch]:
        """This process's rows of the test batches: equally many in all processes.

        Yields:
            image uint8 (b, h, w, c), label int32 (b,), mask float32 (b,): 0 for what
            only fills up the last batch, and for bad images.
        """
        ...

    def sample(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The first `count` test images (n, h, w, c) and their labels (n,)."""
        ...

    def read(self, path: Path) -> np.ndarray:
        """Any image file as the network would get it, uint8 (h, w, c).

        Raises:
            ValueError: it is not an image, or too large for one.
        """
        ...
