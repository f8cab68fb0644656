"""The data sources: config -> input, a table."""

import os
from collections.abc import Callable
from types import MappingProxyType

from train.config import Config
from train.data.array_input import ArrayInput
from train.data.examples import Sizes
from train.data.fake import fake
from train.data.fake_input import FakeInput
from train.data.fashion_mnist import load_fashion_mnist
from train.data.idx import load_idx
from train.data.image_folder import load_image_folder
from train.data.imagenet import load_imagenet
from train.data.input import Input
from train.data.order import Shard
from train.data.photos import load_photos, photo_folder
from train.data.record_input import RecordInput
from train.data.records import RecordSplits
from train.data.solar_cells import load_solar_cells
from train.data.solar_files import locate as locate_solar_cells
from train.data.source import Splits

Loader = Callable[[Config, Shard], Input]


def _arrays(load: Callable[[Config], Splits]) -> Loader:
    def make(config: Config, shard: Shard) -> Input:
        return ArrayInput(
            load(config),
            config.batch_size,
            config.eval_batch_size,
            config.seed,
            config.data.crop_padding,
            config.data.flip,
            config.data.prefetch,
            config.data.max_image_pixels,
            shard,
        )

    return make


def _records(
    load: Callable[..., RecordSplits], root_of: Callable[[Config], str]
) -> Loader:
    def make(config: Config, shard: Shard) -> Input:
        data = config.data
        root = root_of(config)
        sizes = Sizes(
            data.image_size,
            data.eval_resize,
            data.crop_area,
            data.crop_aspect,
            data.flip,
            data.max_image_pixels,
        )
        return RecordInput(
            load(root, max_bytes=data.max_image_bytes),
            sizes,
            batch_size=config.batch_size,
            eval_batch_size=config.eval_batch_size,
            seed=config.seed,
            skip_bad=data.on_bad_image == "skip",
            max_bytes=data.max_image_bytes,
            randaugment=data.randaugment,
            magnitude=data.randaugment_magnitude,
            workers=_cores() if data.workers is None else data.workers,
            prefetch=data.prefetch,
            shard=shard,
        )

    return make


def _fake_imagenet(config: Config, shard: Shard) -> Input:
    size = config.data.image_size
    shape, classes = (size, size, 3), config.model.num_classes or 1000
    return FakeInput(shape, classes, config.batch_size, config.eval_batch_size, shard)


def _root(config: Config) -> str:
    root = config.data.root or os.environ.get("PRM_DATA_DIR")
    if not root:
        raise ValueError(
            f"data.source {config.data.source} needs data.root, the folder of its "
            "files: --data.root FOLDER, or set PRM_DATA_DIR."
        )
    return root


def _photo_folder(config: Config) -> str:
    return config.data.root or photo_folder()


def _solar_folder(config: Config) -> str:
    return config.data.root or str(locate_solar_cells())


def _cores() -> int:
    """Cores this process may use, at most 32: more workers only take memory."""
    return min(32, len(os.sched_getaffinity(0)))


SOURCES: MappingProxyType[str, Loader] = MappingProxyType(
    {
        "fashion_mnist": _arrays(lambda config: load_fashion_mnist(config.data.root)),
        "idx": _arrays(lambda config: load_idx(_root(config))),
        "imagenet2012": _records(load_imagenet, _root),
        "image_folder": _records(load_image_folder, _root),
        "imagenet_photos": _records(load_photos, _photo_folder),
        "solar_cells": _records(load_solar_cells, _solar_folder),
        "fake": _arrays(lambda config: fake(config.seed, 4096, (28, 28, 1), 10)),
        "fake_imagenet": _fake_imagenet,
    }
)
