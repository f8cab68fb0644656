"""Every rule a config must keep, checked before anything is compiled or written."""

import math
import re
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import jax

from prm_flax.errors import unknown
from train.config import BaseConfig, Config, DetectionConfig

Rule = tuple[Callable[[Any], bool], str]

_at_least_1: Rule = (lambda v: v >= 1, "a whole number, at least 1")
_not_negative: Rule = (lambda v: v >= 0, "not negative")
_finite: Rule = (lambda v: math.isfinite(v) and v >= 0, "finite and not negative")
_positive: Rule = (
    lambda v: v is None or (math.isfinite(v) and v > 0),
    "finite and positive",
)
_share: Rule = (lambda v: 0 <= v < 1, "in [0, 1)")


def _is_address(text: str) -> bool:
    found = re.fullmatch(r"([^\s:/\[\]]+|\[[0-9a-fA-F:.]+\]):([0-9]{1,5})", text)
    return found is not None and 1 <= int(found[2]) < 2**16


RULES: MappingProxyType[str, Rule] = MappingProxyType(
    {
        "name": (
            lambda v: bool(v) and "/" not in v and v not in (".", ".."),
            "a plain name without a slash",
        ),
        "epochs": _at_least_1,
        "batch_size": _at_least_1,
        "eval_batch_size": _at_least_1,
        "coordinator": (
            lambda v: v is None or _is_address(v),
            "HOST:PORT, such as node1:12321 or [fd00::1]:12321",
        ),
        "processes": (lambda v: v is None or v >= 1, "at least 1"),
        "process_id": (lambda v: v is None or v >= 0, "not negative"),
        "startup_seconds": _at_least_1,
        "heartbeat_seconds": _at_least_1,
        "profile": _not_negative,
        "seed": (lambda v: 0 <= v < 2**31, "in [0, 2^31)"),
        "data.std": (
            lambda v: len(v) > 0 and all(math.isfinite(s) and s > 0 for s in v),
            "positive numbers",
        ),
        "data.mean": (
            lambda v: len(v) > 0 and all(math.isfinite(m) for m in v),
            "finite numbers",
        ),
        "data.crop_padding": _not_negative,
        "data.image_size": _at_least_1,
        "data.crop_area": (
            lambda v: 0 < v[0] <= v[1] <= 1,
            "two shares, 0 < least ≤ most ≤ 1",
        ),
        "data.crop_aspect": (
            lambda v: 0 < v[0] <= v[1] < math.inf,
            "two ratios, 0 < least ≤ most",
        ),
        "data.eval_resize": _at_least_1,
        "data.randaugment": (lambda v: 0 <= v <= 16, "in 0..16"),
        "data.randaugment_magnitude": (lambda v: 0 <= v <= 10, "in [0, 10]"),
        "data.mixup": _finite,
        "data.cutmix": _finite,
        "data.max_image_bytes": _at_least_1,
        "data.max_image_pixels": _at_least_1,
        "data.workers": (lambda v: v is None or 0 <= v <= 256, "in 0..256"),
        "data.prefetch": _at_least_1,
        "optim.peak_lr": _finite,
        "optim.lr_images": (lambda v: v is None or v >= 1, "at least 1"),
        "optim.warmup_epochs": _finite,
        "optim.step_epochs": _at_least_1,
        "optim.step_factor": _finite,
        "optim.momentum": _share,
        "optim.weight_decay": _finite,
        "optim.clip_norm": _positive,
        "optim.accumulate": _at_least_1,
        "optim.skip_bad_steps": _not_negative,
        "optim.ema": _share,
        "optim.label_smoothing": _share,
        "checkpoint.every_steps": _at_least_1,
        "checkpoint.every_minutes": _finite,
        "checkpoint.keep": _at_least_1,
        "log.every_steps": _at_least_1,
    }
)


# Of a field that the configs of a task do not have.
ABSENT = object()


def _value(config: BaseConfig, path: str) -> Any:
    value: Any = config
    for part in path.split("."):
        value = getattr(value, part, ABSENT)
    return value


def check_config(config: BaseConfig) -> None:
    """Raises one ValueError that names every field whose value is not allowed."""
    wrong = []
    for path, (allowed, rule) in RULES.items():
        value = _value(config, path)
        if value is not ABSENT and not allowed(value):
            wrong.append(f"{path} must be {rule}, got {value!r}")
    if config.optim.warmup_epochs > config.epochs:
        wrong.append(
            f"optim.warmup_epochs must not exceed epochs, got "
            f"{config.optim.warmup_epochs} and {config.epochs}"
        )
    wrong += _wrong_sizes(config)
    if config.init.new and config.init.file is None:
        wrong.append(
            f"init.new needs init.file, the weights that all else starts from (--init "
            f"FILE), got {', '.join(config.init.new)} and no file"
        )
    if config.init.weights != "raw" and config.init.file is None:
        wrong.append(
            "init.weights says which weights of init.file are taken (--init FILE), got "
            f"{config.init.weights} and no file"
        )
    wrong += _wrong_place(config)
    if wrong:
        raise ValueError("; ".join(wrong) + ".")


def _wrong_sizes(config: BaseConfig) -> list[str]:
    paths = ("data.eval_resize", "data.image_size")
    resize, size = (_value(config, path) for path in paths)
    if ABSENT in (resize, size) or resize >= size:
        return []
    return [
        f"data.eval_resize must be at least data.image_size, got {resize} and {size}"
    ]


def _wrong_place(config: BaseConfig) -> list[str]:
    """What is wrong with where the process is told to stand among the others."""
    count, number = config.processes, config.process_id
    given = (config.coordinator, count, number)
    if given == (None, None, None):
        return []
    if not config.distributed or count is None or number is None or None in given:
        told = ("distributed", "coordinator", "processes", "process_id")
        got = ", ".join(f"{name} {getattr(config, name)}" for name in told)
        return [
            "coordinator, processes and process_id go together: --distributed "
            f"--coordinator HOST:PORT --processes N --process-id I, got {got}"
        ]
    if number >= count:
        return [
            f"process_id must be one of 0 to processes - 1, got {number} of {count}"
        ]
    return []


def check_images(config: BaseConfig, images: int, epoch_batches: int) -> None:
    """Raises if there are fewer training images than one batch takes.

    Unless an epoch has a batch all the same: one that is not whole.
    """
    if not epoch_batches:
        raise ValueError(
            f"batch_size must not exceed the training images: {config.batch_size}, "
            f"{images} images."
        )


def check_shares(config: BaseConfig, devices: int) -> None:
    """Raises if the batches do not divide among the devices."""
    for field in ("batch_size", "eval_batch_size"):
        size = getattr(config, field)
        if size % devices:
            raise ValueError(
                f"{field} must be a multiple of the devices: {size} images, {devices} "
                f"devices. The next is {-(-size // devices) * devices}."
            )


def check_parts(config: BaseConfig, devices: int) -> None:
    """Raises if the parts of an accumulated batch do not hold whole statistics."""
    if config.optim.accumulate > 1:
        run = getattr(config.model, "batch_norm", 1)
        _check_accumulation(config.batch_size // devices, config.optim.accumulate, run)


def check_statistics(config: Config, share: int) -> None:
    """Raises if batch norm's statistics do not lie whole in the batch."""
    run = config.model.batch_norm
    if run != "global" and (run < 1 or config.batch_size % run):
        raise ValueError(
            f"batch_size must be a multiple of model.batch_norm, the images of one "
            f"statistic: {config.batch_size} and {run}."
        )
    if config.parallel == "pmap" and (isinstance(run, str) or share % run):
        raise ValueError(
            f"pmap needs statistics that lie on one device: {share} images a device "
            f"must be a multiple of model.batch_norm, got {run!r}."
        )


def check_mixing(config: Config, share: int) -> None:
    """Raises if the pairs of images that are mixed do not lie on one device."""
    if (config.data.mixup or config.data.cutmix) and share % 2:
        raise ValueError(
            f"data.mixup and data.cutmix pair images: batch_size must give each "
            f"device an even number of images, got {share}."
        )


def _check_accumulation(share: int, parts: int, run: int | str) -> None:
    if isinstance(run, str):
        raise ValueError(
            f"optim.accumulate {parts} needs model.batch_norm, the images of one "
            f"statistic, as a number: at most {share // parts} here. Statistics of "
            "the whole batch cannot be had from its parts."
        )
    if share % parts or share // parts % run:
        raise ValueError(
            f"each of optim.accumulate parts must hold whole statistics: {share} "
            f"images a device in {parts} parts, {run} images a statistic "
            "(model.batch_norm)."
        )


def check_classes(config: Config | DetectionConfig, classes: int) -> None:
    """Raises if the config asks for another number of classes than the data has."""
    asked = config.model.num_classes
    if asked not in (None, classes):
        raise ValueError(
            f"model.num_classes is {asked}, but {config.data.source} has {classes} "
            "classes. Leave model.num_classes out to take the data's."
        )


def check_channels(config: Config, channels: int) -> None:
    """Raises unless mean and std are one number or one a channel."""
    for field in ("mean", "std"):
        given = len(getattr(config.data, field))
        if given not in (1, channels):
            raise ValueError(
                f"data.{field} must be one number or one a channel: {given} numbers, "
                f"{channels} channels."
            )


def check_dtype(dtype: str | None) -> None:
    """Raises for float64 where jax computes in float32 instead."""
    if dtype and jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise ValueError(
            f"model.dtype {dtype} is computed in float32 unless the environment has "
            "JAX_ENABLE_X64=1; set it, or leave model.dtype out."
        )


def check_known(kind: str, name: str, known: Any) -> None:
    """Raises for a name that is not in a table, with the nearest that is."""
    if name not in known:
        raise unknown(kind, name, known)
