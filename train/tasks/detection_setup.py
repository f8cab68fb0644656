"""From a detector's config to its task and its images."""

import functools
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax

from prm_flax.detection import create_detector
from train.config import DetectionConfig
from train.data.boxes.annotations import BoxSplits
from train.data.boxes.augment import Augment
from train.data.boxes.files import Limits, looks_like
from train.data.boxes.input import PLACES, BoxInput, BoxPhotos, FakeBoxes
from train.data.boxes.resize import padded
from train.data.datasets.coco import load_coco
from train.data.datasets.deepforest import TREES, load_trees
from train.data.datasets.fashion_scenes import SceneRule, load_scenes
from train.data.datasets.voc import load_voc
from train.data.datasets.yolo import load_yolo
from train.data.input import DataError, Shard
from train.data.sources import cores, root_of
from train.data.trained import TrainedOn
from train.export.weights import TrainedNetwork
from train.tasks.classification_setup import model_options
from train.tasks.detection import Detection
from train.tasks.task import TaskKind, normalize
from train.validate import check_classes, check_known


class SetNumbers(NamedTuple):
    """A set that is the same wherever it is.

    Attributes:
        images: to train on.
        places: for the boxes of an image.
        classes: how many there are.
    """

    images: int
    places: int
    classes: int


# data.source -> its numbers; of COCO those of train2017.
NUMBERS: MappingProxyType[str, SetNumbers] = MappingProxyType(
    {"coco": SetNumbers(118_287, 100, 80), "trees": SetNumbers(162, 100, 1)}
)


def check(config: DetectionConfig, devices: int) -> None:
    """Raises ValueError for a network or source that cannot be."""
    check_known("data.source", config.data.source, SOURCES)
    create_detector(config.model.name, 1, **model_options(config.model))
    short, long = config.data.size
    if not 0 < short <= long:
        raise ValueError(
            "data.size must be the greatest shorter side and the greatest longer one, "
            f"got {short} and {long}."
        )
    apart = config.parallel == "pmap" and devices > 1
    if config.model.norms == "batch" and (apart or config.optim.accumulate > 1):
        raise ValueError(
            "model.norms batch takes statistics of the whole batch, which pmap and "
            "optim.accumulate see a part of at a time: leave them out, or the norms "
            "running."
        )
    least = config.data.least_size
    if least is not None and not 0 < least <= short:
        raise ValueError(
            "data.least_size is the least that the shorter side may be drawn, within "
            f"1 to data.size's {short}; got {least}."
        )
    if not 0 < config.data.crop <= 1:
        raise ValueError(f"data.crop must be within 0 to 1, got {config.data.crop}.")
    if config.optim.schedule == "milestones" and list(
        config.optim.milestones
    ) != sorted(config.optim.milestones):
        raise ValueError(f"optim.milestones must grow, got {config.optim.milestones}.")


def open_images(config: DetectionConfig, shard: Shard, fetch: bool) -> BoxInput:
    """The images of data.source."""
    data = config.data
    try:
        splits = SOURCES[data.source](config, fetch)
    except DataError as error:
        raise _wrong_kind(config, error) from error
    return BoxInput(
        splits,
        limits=data.size,
        most=data.buckets,
        places=data.places,
        batch_size=config.batch_size,
        eval_batch_size=config.eval_batch_size,
        seed=config.seed,
        augment=Augment(data.flip, data.least_size, data.crop),
        skip=data.on_bad_image == "skip",
        files=_limits(config),
        workers=cores() if data.workers is None else data.workers,
        prefetch=data.prefetch,
        shard=shard,
    )


def _wrong_kind(config: DetectionConfig, error: DataError) -> DataError:
    """The error with what the folder looks like, if that is another kind of set."""
    root = config.data.root
    found = looks_like(Path(root)) if root else None
    if found in (None, config.data.source):
        return error
    return DataError(
        f"{error} {root} looks like one of data.source {found}: --data.source {found}."
    )


def reopen(config: DetectionConfig, known: TrainedOn, images: bool) -> Any:
    """The images of a trained detector, or an input that only reads photos.

    Raises:
        ValueError: the data have other classes than the run's.
    """
    if not images:
        return BoxPhotos(known.class_names, known.image_shape, _limits(config))
    shard = Shard(jax.process_index(), jax.process_count())
    found = open_images(config, shard, known.test is None)
    if found.class_names != known.class_names:
        raise ValueError(
            f"the run's classes are {', '.join(known.class_names)}; the data have "
            f"{', '.join(found.class_names)}. Is data.root the run's?"
        )
    return found


def make(config: DetectionConfig, images: Any) -> Detection:
    """The task, with the classes of the images."""
    count = len(images.class_names)
    check_classes(config, count)
    data, options = config.data, model_options(config.model) | {"num_classes": count}
    rule = getattr(images, "rule", None)
    return Detection(
        model=create_detector(config.model.name, **options),
        normalize=functools.partial(normalize, mean=data.mean, std=data.std),
        limits=data.size,
        padded_to=rule.shapes if rule else (images.image_shape[:2],),
        places=rule.places if rule else PLACES[0],
        class_names=images.class_names,
        crowd_share=data.crowd_share,
        truth=images.truth,
        network=functools.partial(
            TrainedNetwork,
            name=config.model.name,
            options=options,
            mean=data.mean,
            std=data.std,
            image_shape=images.image_shape,
            class_names=images.class_names,
        ),
    )


def fake_input(config: DetectionConfig) -> Any:
    """Shapes and sizes alone, where a set's files are not at hand."""
    data = config.data
    if data.source in NUMBERS and not data.root:
        images, places, classes = NUMBERS[data.source]
        names = tuple(f"class {k}" for k in range(classes))
        count = -(-images // config.batch_size)
        shape = *padded(data.size), 3
        return FakeBoxes(names, shape, data.places or places, images, count)
    return open_images(config, Shard(), False)


def _limits(config: DetectionConfig) -> Limits:
    return Limits(config.data.max_image_bytes, config.data.max_image_pixels)


def _coco(config: DetectionConfig, fetch: bool) -> BoxSplits:
    data = config.data
    return load_coco(
        Path(root_of(config)),
        (data.train_json, data.train_images),
        (data.test_json, data.test_images),
        _limits(config),
        data.on_bad_image == "skip",
    )


def _folders(load: Callable[..., BoxSplits]):
    def opened(config: DetectionConfig, fetch: bool) -> BoxSplits:
        data = config.data
        skip = data.on_bad_image == "skip"
        root, limits = Path(root_of(config)), _limits(config)
        return load(root, data.train_list, data.test_list, limits, skip)

    return opened


def _scenes(config: DetectionConfig, fetch: bool) -> BoxSplits:
    data = config.data
    rule = SceneRule(
        data.scene_side, data.scene_items, data.scene_scale, data.scene_fragments
    )
    return load_scenes(rule, data.scene_count, data.root, fetch)


def _trees(config: DetectionConfig, fetch: bool) -> BoxSplits:
    data = config.data
    root = Path(data.root) if data.root else TREES.locate(fetch=fetch)
    return load_trees(root, _limits(config), data.on_bad_image == "skip")


SOURCES: MappingProxyType[str, Callable[[DetectionConfig, bool], BoxSplits]] = (
    MappingProxyType(
        {
            "coco": _coco,
            "voc": _folders(load_voc),
            "yolo": _folders(load_yolo),
            "fashion_scenes": _scenes,
            "trees": _trees,
        }
    )
)
KIND = TaskKind(check, open_images, reopen, make, fake_input)
