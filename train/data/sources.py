"""The data sources: config -> input, a table."""

import dataclasses
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from train.config import BaseConfig, Config
from train.data.datasets.fake import FakeInput, fake
from train.data.datasets.fashion_mnist import load_fashion_mnist
from train.data.datasets.idx import load_idx
from train.data.datasets.image_folder import load_image_folder
from train.data.datasets.imagenet_samples import load_photos, photo_folder
from train.data.datasets.solar_cells import load_solar_cells
from train.data.datasets.solar_files import locate as locate_solar_cells
from train.data.datasets.tfds import load_imagenet
from train.data.examples import Sizes
from train.data.input import Input, Shard
from train.data.photos import cut_photo, fit_photo
from train.data.pipeline import ArrayInput, RecordInput
from train.data.records.arrays import Splits
from train.data.records.base import RecordSplits


class Source(NamedTuple):
    """A kind of data.

    Attributes:
        open: `(config, this process, whether it may be fetched) -> input`.
        resize: `config -> shorter side` before the centre is cut out of an image file;
            0 where the whole is squeezed into the shape.
    """

    open: Callable[[Config, Shard, bool], Input]
    resize: Callable[[Config], int]


def _arrays(load: Callable[[Config, bool], Splits]) -> Source:
    def make(config: Config, shard: Shard, fetch: bool) -> Input:
        return ArrayInput(
            load(config, fetch),
            config.batch_size,
            config.eval_batch_size,
            config.seed,
            config.data.crop_padding,
            config.data.flip,
            config.data.prefetch,
            config.data.max_image_pixels,
            shard,
        )

    return Source(make, lambda config: 0)


def _records(
    load: Callable[..., RecordSplits], root_of: Callable[[Config, bool], str]
) -> Source:
    def make(config: Config, shard: Shard, fetch: bool) -> Input:
        data = config.data
        root = root_of(config, fetch)
        return RecordInput(
            load(root, max_bytes=data.max_image_bytes),
            _sizes(config),
            batch_size=config.batch_size,
            eval_batch_size=config.eval_batch_size,
            seed=config.seed,
            skip_bad=data.on_bad_image == "skip",
            max_bytes=data.max_image_bytes,
            randaugment=data.randaugment,
            magnitude=data.randaugment_magnitude,
            workers=cores() if data.workers is None else data.workers,
            prefetch=data.prefetch,
            shard=shard,
        )

    return Source(make, _resize)


def _sizes(config: Config) -> Sizes:
    data = config.data
    return Sizes(
        data.image_size,
        data.eval_resize,
        data.crop_area,
        data.crop_aspect,
        data.flip,
        data.max_image_pixels,
    )


def _resize(config: Config) -> int:
    return config.data.eval_resize


def photo_reader(
    config: Config, image_shape: tuple[int, int, int], resize: int
) -> Callable[[Path], np.ndarray]:
    """Path -> any image file as a network gets it, for which no data need be here.

    Args:
        config: what a file may have.
        image_shape: (h, w, c) of what the network gets.
        resize: the shorter side before the centre is cut out; 0 squeezes the whole.
    """
    data = config.data
    if not resize:
        return partial(
            fit_photo, image_shape=image_shape, max_pixels=data.max_image_pixels
        )
    sizes = dataclasses.replace(
        _sizes(config), image_size=image_shape[0], eval_resize=resize
    )
    return partial(cut_photo, sizes=sizes, max_bytes=data.max_image_bytes)


def _fake_imagenet(config: Config, shard: Shard, fetch: bool) -> Input:
    size = config.data.image_size
    shape, classes = (size, size, 3), config.model.num_classes or 1000
    return FakeInput(shape, classes, config.batch_size, config.eval_batch_size, shard)


def root_of(config: BaseConfig, fetch: bool = False) -> str:
    """Folder of the files of a source that needs some; nothing is fetched.

    Raises:
        ValueError: neither the config nor the environment names one.
    """
    root = config.data.root or os.environ.get("PRM_DATA_DIR")
    if not root:
        raise ValueError(
            f"data.source {config.data.source} needs data.root, the folder of its "
            "files: --data.root FOLDER, or set PRM_DATA_DIR."
        )
    return root


def _photo_folder(config: Config, fetch: bool) -> str:
    return config.data.root or photo_folder(fetch)


def _solar_folder(config: Config, fetch: bool) -> str:
    return config.data.root or str(locate_solar_cells(fetch=fetch))


def cores() -> int:
    """Cores this process may use, at most 32: more workers only take memory."""
    return min(32, len(os.sched_getaffinity(0)))


SOURCES: MappingProxyType[str, Source] = MappingProxyType(
    {
        "fashion_mnist": _arrays(
            lambda config, fetch: load_fashion_mnist(config.data.root, fetch)
        ),
        "idx": _arrays(lambda config, fetch: load_idx(root_of(config))),
        "imagenet2012": _records(load_imagenet, root_of),
        "image_folder": _records(load_image_folder, root_of),
        "imagenet_photos": _records(load_photos, _photo_folder),
        "solar_cells": _records(load_solar_cells, _solar_folder),
        "fake": _arrays(lambda config, fetch: fake(config.seed, 4096, (28, 28, 1), 10)),
        "fake_imagenet": Source(_fake_imagenet, _resize),
    }
)
