"""Every rule a config must keep, checked before anything is compiled or written."""

import math
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import jax

from prm_flax.errors import unknown
from train.config import Config

Rule = tuple[Callable[[Any], bool], str]

_at_least_1: Rule = (lambda v: v >= 1, "a whole number, at least 1")
_not_negative: Rule = (lambda v: v >= 0, "not negative")
_finite: Rule = (lambda v: math.isfinite(v) and v >= 0, "finite and not negative")
_share: Rule = (lambda v: 0 <= v < 1, "in [0, 1)")

RULES: MappingProxyType[str, Rule] = MappingProxyType(
    {
        "name": (
            lambda v: bool(v) and "/" not in v and v not in (".", ".."),
            "a plain name without a slash",
        ),
        "epochs": _at_least_1,
        "batch_size": _at_least_1,
        "eval_batch_size": _at_least_1,
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
        "data.prefetch": _at_least_1,
        "optim.peak_lr": _finite,
        "optim.warmup_epochs": _finite,
        "optim.step_epochs": _at_least_1,
        "optim.step_factor": _finite,
        "optim.momentum": _share,
        "optim.weight_decay": _finite,
        "optim.label_smoothing": _share,
        "checkpoint.every_steps": _at_least_1,
        "checkpoint.keep": _at_least_1,
        "log.every_steps": _at_least_1,
    }
)


def check_config(config: Config) -> None:
    """Raises one ValueError that names every field whose value is not allowed."""
    wrong = []
    for path, (allowed, rule) in RULES.items():
        value: Any = config
        for part in path.split("."):
            value = getattr(value, part)
        if not allowed(value):
            wrong.append(f"{path} must be {rule}, got {value!r}")
    if config.optim.warmup_epochs > config.epochs:
        wrong.append(
            f"optim.warmup_epochs must not exceed epochs, got "
            f"{config.optim.warmup_epochs} and {config.epochs}"
        )
    if wrong:
        raise ValueError("; ".join(wrong) + ".")


def check_batches(config: Config, devices: int, images: int) -> None:
    """Raises if the batches do not divide among devices, statistics and images."""
    for field in ("batch_size", "eval_batch_size"):
        size = getattr(config, field)
        if size % devices:
            raise ValueError(
                f"{field} must be a multiple of the devices: {size} images, {devices} "
                f"devices. The next is {-(-size // devices) * devices}."
            )
    if config.batch_size > images:
        raise ValueError(
            f"batch_size must not exceed the training images: {config.batch_size}, "
            f"{images} images."
        )
    run = config.model.batch_norm
    if run != "global" and (run < 1 or config.batch_size % run):
        raise ValueError(
            f"batch_size must be a multiple of model.batch_norm, the images of one "
            f"statistic: {config.batch_size} and {run}."
        )


def check_classes(config: Config, classes: int) -> None:
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
