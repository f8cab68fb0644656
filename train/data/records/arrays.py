"""Labelled images that fit in memory: any batch of them, at any time."""

from collections.abc import Generator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from train.data.digest import digest
from train.data.images.augment import CropDraws, draw, random_crop_flip
from train.data.input import ALONE, Batch, Shard
from train.data.rng import order


# eq=False: comparing arrays has no single truth value, and hashing by identity
# is what lets frozen objects that hold a source be dictionary keys.
@dataclass(frozen=True, eq=False)
class ArraySource:
    """Images with their labels, checked once when they are put together.

    Attributes:
        images: uint8 (n, h, w, c).
        labels: int32 (n,), each from 0 to `num_classes` - 1.
        class_names: the name of each class, in the order of the labels.

    Raises:
        ValueError: an array has the wrong type or axes, the lengths differ, or a
            label has no class name.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together."""
        _check_array("images", self.images, np.uint8, ("n", "h", "w", "c"))
        _check_array("labels", self.labels, np.int32, ("n",))
        if len(self.images) != len(self.labels):
            raise ValueError(
                f"every image needs one label: got {len(self.images)} images and "
                f"{len(self.labels)} labels; are both of the same split?"
            )
        wrong = np.flatnonzero((self.labels < 0) | (self.labels >= self.num_classes))
        if wrong.size:
            raise ValueError(
                f"labels must lie in 0..{self.num_classes - 1}, one for each of the "
                f"{self.num_classes} class names: labels[{wrong[0]}] is "
                f"{self.labels[wrong[0]]} ({wrong.size} such labels); do they count "
                "from 1, or is a class name missing?"
            )

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    @property
    def num_classes(self) -> int:
        """Number of classes, those without an image among them."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape (h, w, c) of one image."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    @cached_property
    def digest(self) -> str:
        """Of the images and their labels."""
        return digest([self.images, self.labels])


class Splits(NamedTuple):
    """The two parts of a data set.

    Attributes:
        train: what the weights are fitted to.
        test: what the result is measured on.
    """

    train: ArraySource
    test: ArraySource


def _check_array(
    name: str, array: np.ndarray, dtype: type[np.generic], axes: tuple[str, ...]
) -> None:
    if array.dtype != dtype or array.ndim != len(axes):
        raise ValueError(
            f"{name} must be {np.dtype(dtype)} ({', '.join(axes)}): got {array.dtype} "
            f"{array.shape}; convert with .astype or add the missing axis"
        )


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


# A few epochs: training is in one, its prefetching may be in the next.
@lru_cache(maxsize=4)
def _draws(seed: int, epoch: int, images: int, padding: int, flip: bool) -> CropDraws:
    return draw(seed, epoch, images, padding=padding, flip=flip)
