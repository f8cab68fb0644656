"""Inputs of a network that was trained before: its classes are the run's."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from train.data.input import Batch, Input


@dataclass(frozen=True, eq=False)
class Relabelled:
    """An `Input` whose labels are places in another list of classes.

    Attributes:
        input: the images.
        class_names: the list.
        places: int32 (classes of the input,), each one's place in the list.
    """

    input: Input
    class_names: tuple[str, ...]
    places: np.ndarray

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape (h, w, c) of one image."""
        return self.input.image_shape

    @property
    def train_images(self) -> int:
        """Images to train on."""
        return self.input.train_images

    @property
    def test_images(self) -> int:
        """Images to test on."""
        return self.input.test_images

    @property
    def digests(self) -> tuple[str, str]:
        """Of the lists of training and of test images."""
        return self.input.digests

    @property
    def skipped(self) -> int:
        """How often a bad image was left out."""
        return self.input.skipped

    def train(self, start: int, stop: int) -> Generator[Batch]:
        """The training batches."""
        yield from map(self._placed, self.input.train(start, stop))

    def test(self) -> Generator[Batch]:
        """The test batches."""
        yield from map(self._placed, self.input.test())

    def sample(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The first test images and their labels."""
        images, labels = self.input.sample(count)
        return images, self.places[labels]

    def read(self, path: Path) -> np.ndarray:
        """An image file as the network gets it."""
        return self.input.read(path)

    def _placed(self, batch: Batch) -> Batch:
        return batch | {"label": self.places[batch["label"]]}


@dataclass(frozen=True, eq=False)
class PhotosOnly:
    """An `Input` for any photo, where the images of the run need not be.

    Attributes:
        class_names: of the run.
        image_shape: (h, w, c) of what its network gets.
        reader: path -> image.
    """

    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    reader: Callable[[Path], np.ndarray]
    train_images: int = 0
    test_images: int = 0
    digests: tuple[str, str] = "", ""
    skipped: int = 0

    def train(self, start: int, stop: int) -> Generator[Batch]:
        """There are none."""
        raise _absent()

    def test(self) -> Generator[Batch]:
        """There are none."""
        raise _absent()

    def sample(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """There are none."""
        raise _absent()

    def read(self, path: Path) -> np.ndarray:
        """An image file as the network gets it."""
        return self.reader(path)


def _absent() -> ValueError:
    return ValueError(
        "the images of the run were not opened, as they are not needed to look at "
        "photos or to export: build the experiment with them."
    )
