"""Made-up images that a network can learn: for tests and for measuring machines."""

import math
from collections.abc import Generator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from train.data.digest import digest
from train.data.input import ALONE, Batch, Shard
from train.data.records.arrays import ArraySource, Splits
from train.data.rng import words

TRAIN_IMAGES = 25_600
TEST_IMAGES = 2_560


@dataclass(frozen=True, eq=False)
class FakeInput:
    """An `Input` that hands out one batch of noise again and again.

    Attributes:
        image_shape: (h, w, c).
        classes: how many there are; the labels run through them.
        batch_size: of training, over all processes.
        eval_batch_size: of testing, over all processes.
        shard: this process among those of the run.
    """

    image_shape: tuple[int, int, int]
    classes: int
    batch_size: int
    eval_batch_size: int
    shard: Shard = ALONE
    train_images: int = TRAIN_IMAGES
    test_images: int = TEST_IMAGES
    skipped: int = 0

    @property
    def class_names(self) -> tuple[str, ...]:
        """Numbers."""
        return tuple(f"class {label}" for label in range(self.classes))

    def about(self) -> list[str]:
        """Nothing."""
        return []

    @property
    def epoch_batches(self) -> int:
        """Whole batches of the training images."""
        return self.train_images // self.batch_size

    @property
    def digests(self) -> tuple[str, str]:
        """Of what the noise is made of."""
        made = "noise", *self.image_shape, self.classes
        return digest([*made, self.train_images]), digest([*made, self.test_images])

    def train(self, start: int, stop: int) -> Generator[Batch]:
        """The same rows at every step."""
        rows = self.shard.rows(self.batch_size)
        images, labels = self.sample(self.batch_size)
        index = np.arange(self.batch_size, dtype=np.int32)
        batch = {"image": images[rows], "label": labels[rows], "index": index[rows]}
        for _ in range(start, stop):
            yield batch

    def test(self) -> Generator[Batch]:
        """The same rows in every batch; the last is masked like any input's."""
        rows = self.shard.rows(self.eval_batch_size)
        images, labels = self.sample(self.eval_batch_size)
        for start in range(0, self.test_images, self.eval_batch_size):
            real = np.arange(self.eval_batch_size) < self.test_images - start
            mask = real.astype(np.float32)
            yield {"image": images[rows], "label": labels[rows], "mask": mask[rows]}

    def sample(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Noise, and labels that run through the classes."""
        repeats = -(-count // len(self._noise))
        images = np.concatenate([self._noise] * repeats)[:count]
        return images, np.arange(count, dtype=np.int32) % self.classes

    def read(self, path: Path) -> np.ndarray:
        """Noise is not compared with anything."""
        raise ValueError(
            f"data.source fake_imagenet cannot look at {path}: train on images first."
        )

    @cached_property
    def _noise(self) -> np.ndarray:
        """Sixteen images: enough for any batch to be made of."""
        count = 16 * int(np.prod(self.image_shape))
        noise = words(0, 0, "fake_imagenet", -(-count // 8)).view(np.uint8)[:count]
        return noise.reshape(16, *self.image_shape)


_CELLS = 8  # a class is a pattern of at most 8 x 8 grey or coloured cells


def fake(
    seed: int, images: int, image_shape: tuple[int, int, int], classes: int
) -> Splits:
    """Make two splits in which every class has a pattern under half as much noise.

    Args:
        seed: decides patterns and noise; the same seed gives the same bytes.
        images: number of training images; there are a quarter as many test images.
        image_shape: (h, w, c).
        classes: number of classes; the labels run through them in turn.

    Returns:
        Train and test, of the same patterns and different noise.

    Raises:
        ValueError: a number is not positive.
    """
    if min(images, classes, *image_shape) < 1:
        raise ValueError(
            f"images, image_shape and classes must be positive: got {images}, "
            f"{image_shape} and {classes}"
        )
    height, width, channels = image_shape
    cells = (classes, min(height, _CELLS), min(width, _CELLS), channels)
    patterns = _noise(seed, "fake_patterns", cells)
    names = tuple(f"class {label}" for label in range(classes))
    return Splits(
        _split(seed, "fake_train", images, image_shape, patterns, names),
        _split(seed, "fake_test", max(1, images // 4), image_shape, patterns, names),
    )


def _split(
    seed: int,
    stream: str,
    images: int,
    image_shape: tuple[int, int, int],
    patterns: np.ndarray,
    names: tuple[str, ...],
) -> ArraySource:
    height, width, _ = image_shape
    labels = np.arange(images, dtype=np.int32) % len(patterns)
    rows = np.arange(height) * patterns.shape[1] // height
    columns = np.arange(width) * patterns.shape[2] // width
    clean = patterns[labels[:, None, None], rows[:, None], columns]
    noise = _noise(seed, stream, (images, *image_shape))
    return ArraySource(clean // 3 * 2 + noise // 3, labels, names)


def _noise(seed: int, stream: str, shape: tuple[int, ...]) -> np.ndarray:
    count = math.prod(shape)
    return words(seed, 0, stream, -(-count // 8)).view(np.uint8)[:count].reshape(shape)
