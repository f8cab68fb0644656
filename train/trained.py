"""A run that is used: what it says of itself comes before the config and the flags."""

import dataclasses
import functools
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

import jax

from train import sharding
from train.build import Experiment, assemble, build, check_options, workdir_of
from train.checkpoint import CheckpointError, Checkpoints
from train.claim import FREE_TO_USE, check_same, recorded
from train.config import Config, Data, Optim
from train.console import say
from train.data.input import Input
from train.data.order import Shard
from train.data.trained import PhotosOnly, Relabelled
from train.init_file import read_init
from train.initial import first_state, uses_file
from train.run_data import RunData, labels_by_name, old_run, read_data
from train.sources import SOURCES
from train.state import TrainState

# Fields of data that are about this machine and what it lets through, not the images.
OF_MACHINE = (
    "data.workers",
    "data.prefetch",
    "data.on_bad_image",
    "data.max_image_bytes",
    "data.max_image_pixels",
)
T = TypeVar("T", Data, Optim)


def as_trained(config: Config, typed: Collection[str]) -> Config:
    """The config with the data and the optimiser of the run in its folder.

    Args:
        config: of a file, with flags.
        typed: the fields that flags gave, such as "data.root": these stay, and
            `check_trained` refuses them where they contradict the run.

    Returns:
        The same config if the folder has no run, or if init.file is what is used.
    """
    run = recorded(workdir_of(config))
    if not run or uses_file(config):
        return config
    kept = {*typed, *OF_MACHINE}
    if "data.source" in typed:  # the run's folder is one of another source
        kept.add("data.root")
    return dataclasses.replace(
        config,
        data=_filled(config.data, run, "data.", kept),
        optim=_filled(config.optim, run, "optim.", kept),
    )


def _filled(part: T, run: Mapping[str, Any], prefix: str, kept: Collection[str]) -> T:
    """A part of the config with the run's values, but for the fields to be kept."""
    names = [field.name for field in dataclasses.fields(part)]
    found = {n: run[prefix + n] for n in names if prefix + n in {*run} - {*kept}}
    values = {n: tuple(v) if isinstance(v, list) else v for n, v in found.items()}
    return dataclasses.replace(part, **values)


def opened(config: Config, images: bool = True) -> Experiment:
    """What uses a trained network: where there is none, no images are asked for.

    Classes are the run's, see `run_data`, and nothing is fetched for a run.

    Args:
        config: see `as_trained`.
        images: whether those of the data are needed; else the input only reads photos,
            unless the run does not say what its classes are.

    Raises:
        CheckpointError: there is no run.
        WorkdirError: it is another config's.
        ValueError: the config is wrong, or the data have classes the run has not.
    """
    mesh = sharding.make_mesh()
    check_options(config, mesh.size)
    if uses_file(config):
        return build(config)
    check_trained(config)
    workdir = workdir_of(config)
    data = read_data(workdir)
    if data is None:
        experiment = build(config, fetch=False)
        say(old_run(workdir, experiment.input.class_names))
        return experiment
    return assemble(config, mesh, (_images if images else _photos)(config, data))


def _photos(config: Config, data: RunData) -> Input:
    read = functools.partial(SOURCES[config.data.source].read, config, data.image_shape)
    return PhotosOnly(
        data.class_names,
        data.image_shape,
        data.train.images,
        data.test.images,
        (data.train.digest, data.test.digest),
        read,
    )


def _images(config: Config, data: RunData) -> Input:
    """The images with the run's classes."""
    shard = Shard(jax.process_index(), jax.process_count())
    found = SOURCES[config.data.source].open(config, shard, False)
    if found.image_shape != data.image_shape:
        raise ValueError(
            f"the run's network takes images of shape {data.image_shape}, the data "
            f"have {found.image_shape}. Is data.source that of the run?"
        )
    if found.digests[1] != data.test.digest:
        say(
            f"test images: {found.test_images:,}, others than those of the run "
            f"({data.test.images:,})"
        )
    if found.class_names == data.class_names:
        return found
    places = labels_by_name(data.class_names, found.class_names)
    say(
        f"classes: {len(places)} of the run's {len(data.class_names)}, taken by their "
        "names"
    )
    return Relabelled(found, data.class_names, places)


def check_trained(config: Config) -> None:
    """Raises an error unless the config's folder has a run of its network."""
    workdir = workdir_of(config)
    if not (workdir / "checkpoints").is_dir():
        raise CheckpointError(
            f"no run in {workdir}. Train first: python -m train fit …, with the same "
            "config and --workdir. Or give a file of weights: --init FILE."
        )
    check_same(workdir, config, FREE_TO_USE)


def restore(experiment: Experiment) -> TrainState:
    """The last state that the experiment's run saved, or the weights of init.file."""
    if uses_file(experiment.config):
        return first_state(experiment, read_init(experiment))
    check_trained(experiment.config)
    checkpoints = Checkpoints(experiment.workdir / "checkpoints")
    state, _ = checkpoints.restore(experiment.abstract_state)
    return state
