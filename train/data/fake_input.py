"""Images of noise that cost nothing to make: what is left is the machine's speed."""

from collections.abc import Generator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from train.data.digest import digest
from train.data.input import Batch
from train.data.order import ALONE, Shard
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
