"""Inputs of a network that was trained before: its classes are the run's."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from train.config import Config
from train.data.input import Batch, Input, Shard
from train.data.sources import SOURCES, photo_reader
from train.distributed import say
from train.workdir.run_data import ImageList, labels_by_name


class TrainedOn(NamedTuple):
    """What trained weights say of their data.

    Attributes:
        class_names: in the order of the logits.
        image_shape: (h, w, c) of what the network gets.
        resize: the shorter side before the centre is cut out; 0 squeezes the whole;
            None leaves that to the source.
        test: the images that the run was tested on; None outside a run.
    """

    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    resize: int | None
    test: ImageList | None


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
    def epoch_batches(self) -> int:
        """Steps of one pass over the training images."""
        return self.input.epoch_batches

    @property
    def digests(self) -> tuple[str, str]:
        """Of the lists of training and of test images."""
        return self.input.digests

    @property
    def skipped(self) -> int:
        """How often a bad image was left out."""
        return self.input.skipped

    def about(self) -> list[str]:
        """What the images' input says."""
        return self.input.about()

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
    epoch_batches: int = 1
    digests: tuple[str, str] = "", ""
    skipped: int = 0

    def about(self) -> list[str]:
        """Nothing."""
        return []

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


def reopen(config: Config, known: TrainedOn, images: bool) -> Input:
    """The images of a trained classifier, or an input that only reads photos.

    Args:
        config: of the classifier.
        known: what its weights say.
        images: whether those of the data are needed.

    Raises:
        ValueError: the data have classes, or images of a shape, that it has not.
    """
    return (_images if images else _photos)(config, known)


def _photos(config: Config, known: TrainedOn) -> Input:
    resize = known.resize
    if resize is None:
        resize = SOURCES[config.data.source].resize(config)
    reader = photo_reader(config, known.image_shape, resize)
    return PhotosOnly(known.class_names, known.image_shape, reader)


def _images(config: Config, known: TrainedOn) -> Input:
    """The images with the classes of the weights."""
    shard = Shard(jax.process_index(), jax.process_count())
    fetch = known.test is None  # nothing for a run
    found = SOURCES[config.data.source].open(config, shard, fetch)
    if found.image_shape != known.image_shape:
        raise ValueError(
            f"the network takes images of shape {known.image_shape}, the data have "
            f"{found.image_shape}. Is data.source that of its run?"
        )
    if known.test is not None and found.digests[1] != known.test.digest:
        say(
            f"{found.test_images:,} test images, of other files than the run's "
            f"{known.test.images:,}"
        )
    if found.class_names == known.class_names:
        return found
    places = labels_by_name(known.class_names, found.class_names)
    say(
        f"classes: {len(places)} of the network's {len(known.class_names)}, taken by "
        "their names"
    )
    return Relabelled(found, known.class_names, places)
