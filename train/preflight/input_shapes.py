"""What a training step must know of its images, without opening them."""

from collections.abc import Callable
from types import MappingProxyType
from typing import NamedTuple

from train.config import Config
from train.data.datasets.fake import FakeInput
from train.data.input import ALONE
from train.data.sources import SOURCES


class Known(NamedTuple):
    """A set that is the same wherever it is.

    Attributes:
        shape: (h, w, c) of what the network gets.
        classes: how many there are.
        images: to train on.
    """

    shape: tuple[int, int, int]
    classes: int
    images: int


def _imagenet(config: Config) -> Known:
    size = config.data.image_size
    return Known((size, size, 3), 1000, 1_281_167)


def _solar_cells(config: Config) -> Known:
    size = config.data.image_size
    return Known((size, size, 3), 2, 1_970)


KNOWN: MappingProxyType[str, Callable[[Config], Known]] = MappingProxyType(
    {
        "fashion_mnist": lambda config: Known((28, 28, 1), 10, 60_000),
        "imagenet2012": _imagenet,
        "solar_cells": _solar_cells,
    }
)


def sketch(config: Config) -> FakeInput:
    """An `Input` of the right shapes and sizes; sets not in `KNOWN` are opened."""
    source = config.data.source
    if source in KNOWN:
        shape, classes, count = KNOWN[source](config)
    else:
        images = SOURCES[source].open(config, ALONE, True)
        shape, classes = images.image_shape, len(images.class_names)
        count = images.train_images
    return FakeInput(
        shape, classes, config.batch_size, config.eval_batch_size, train_images=count
    )
