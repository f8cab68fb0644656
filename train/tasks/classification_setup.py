"""From a classifier's config to its task and its images."""

import dataclasses
import functools
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, NamedTuple

import jax.numpy as jnp

from prm_flax import create_model
from train.config import BaseModel, Config
from train.data.datasets.fake import FakeInput
from train.data.input import ALONE, Input, Shard
from train.data.sources import SOURCES
from train.data.trained import reopen
from train.export.weights import TrainedNetwork
from train.tasks.classification import Classification
from train.tasks.mixup import make_mix
from train.tasks.task import TaskKind, normalize
from train.validate import (
    check_channels,
    check_classes,
    check_known,
    check_mixing,
    check_statistics,
)


def check(config: Config, devices: int) -> None:
    """Raises ValueError for a network, source or batch that cannot be."""
    check_known("data.source", config.data.source, SOURCES)
    check_statistics(config, config.batch_size // devices)
    create_model(config.model.name, 1, **model_options(config.model))
    check_mixing(config, config.batch_size // devices)


def open_images(config: Config, shard: Shard, fetch: bool) -> Input:
    """The images of data.source."""
    return SOURCES[config.data.source].open(config, shard, fetch)


def make(config: Config, images: Input) -> Classification:
    """The task, with the classes of the images."""
    check_classes(config, len(images.class_names))
    check_channels(config, images.image_shape[-1])
    options = model_options(config.model) | {"num_classes": len(images.class_names)}
    data = config.data
    return Classification(
        model=create_model(config.model.name, **options),
        normalize=functools.partial(normalize, mean=data.mean, std=data.std),
        label_smoothing=config.optim.label_smoothing,
        mix=make_mix(data.mixup, data.cutmix),
        image_shape=images.image_shape,
        class_names=images.class_names,
        network=functools.partial(
            TrainedNetwork,
            name=config.model.name,
            options=options,
            mean=data.mean,
            std=data.std,
            image_shape=images.image_shape,
            class_names=images.class_names,
            resize=SOURCES[data.source].resize(config),
        ),
    )


def model_options(model: BaseModel) -> dict[str, Any]:
    """The options that `create_model`, or `create_detector`, gets: all but None."""
    options = {
        field.name: getattr(model, field.name)
        for field in dataclasses.fields(model)
        if field.name not in ("name", "num_classes")
    }
    options["dtype"] = None if model.dtype is None else jnp.dtype(model.dtype)
    return {name: value for name, value in options.items() if value is not None}


class SetShape(NamedTuple):
    """A set that is the same wherever it is.

    Attributes:
        shape: (h, w, c) of what the network gets.
        classes: how many there are.
        images: to train on.
    """

    shape: tuple[int, int, int]
    classes: int
    images: int


def _imagenet(config: Config) -> SetShape:
    size = config.data.image_size
    return SetShape((size, size, 3), 1000, 1_281_167)


def _solar_cells(config: Config) -> SetShape:
    size = config.data.image_size
    return SetShape((size, size, 3), 2, 1_970)


SHAPES: MappingProxyType[str, Callable[[Config], SetShape]] = MappingProxyType(
    {
        "fashion_mnist": lambda config: SetShape((28, 28, 1), 10, 60_000),
        "imagenet2012": _imagenet,
        "solar_cells": _solar_cells,
    }
)


def fake_input(config: Config) -> FakeInput:
    """An `Input` of the right shapes and sizes; sets not in `SHAPES` are opened."""
    source = config.data.source
    if source in SHAPES:
        shape, classes, count = SHAPES[source](config)
    else:
        images = SOURCES[source].open(config, ALONE, True)
        shape, classes = images.image_shape, len(images.class_names)
        count = images.train_images
    return FakeInput(
        shape, classes, config.batch_size, config.eval_batch_size, train_images=count
    )


KIND = TaskKind(check, open_images, reopen, make, fake_input)
