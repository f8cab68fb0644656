"""A run that is used: what it says of itself comes before the config and the flags."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from train import sharding
from train.checkpoints.manager import CheckpointError, Checkpoints
from train.config import Config, Data, Optim
from train.data.trained import TrainedOn
from train.distributed import say
from train.experiment import (
    Experiment,
    assemble,
    build,
    check_options,
    kind_of,
    workdir_of,
)
from train.initialization import first_state, read_about, read_init, uses_file
from train.state import TrainState
from train.workdir.run_data import old_run, read_data
from train.workdir.same_config import FREE_TO_USE, check_fields, recorded_config

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
        The config; if init.file is what is used, with the preprocessing that it says.
    """
    if uses_file(config):
        return _as_in_file(config, typed)
    run = recorded_config(workdir_of(config))
    kept = {*typed, *OF_MACHINE}
    if "data.source" in typed:  # the run's folder is one of another source
        kept.add("data.root")
    return dataclasses.replace(
        config,
        data=_filled(config.data, run, "data.", kept),
        optim=_filled(config.optim, run, "optim.", kept),
    )


def _as_in_file(config: Config, typed: Collection[str]) -> Config:
    """The config with the preprocessing that init.file says, if it does."""
    found = read_about(config.init).preprocessing
    if found is None:
        return config
    said = {"data.mean": found.mean, "data.std": found.std}
    if found.resize:
        size = found.image_shape[0]
        said |= {"data.image_size": size, "data.eval_resize": found.resize}
    data = _filled(config.data, said, "data.", typed)
    return dataclasses.replace(config, data=data)


def _filled(part: T, run: Mapping[str, Any], prefix: str, kept: Collection[str]) -> T:
    """A part of the config with the run's values, but for the fields to be kept."""
    names = [field.name for field in dataclasses.fields(part)]
    found = {n: run[prefix + n] for n in names if prefix + n in {*run} - {*kept}}
    values = {n: tuple(v) if isinstance(v, list) else v for n, v in found.items()}
    return dataclasses.replace(part, **values)


def open_trained(config: Config, images: bool = True) -> Experiment:
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
    check_options(config, sharding.make_mesh().size)
    if uses_file(config):
        known = _known_of_file(config)
        return _with(config, known, images) if known else build(config)
    check_trained(config)
    return experiment_of_run(config, images)


def experiment_of_run(config: Config, images: bool = True) -> Experiment:
    """What the config of the run in its folder describes, with the run's classes.

    Args and Raises as of `open_trained`, which looks first whether there is such a run.
    """
    known = _known_of_run(config)
    if known is not None:
        return _with(config, known, images)
    experiment = build(config, fetch=False)
    say(old_run(experiment.workdir, experiment.input.class_names))
    return experiment


def _known_of_run(config: Config) -> TrainedOn | None:
    data = read_data(workdir_of(config))
    if data is None:
        return None
    return TrainedOn(data.class_names, data.image_shape, None, data.test)


def _known_of_file(config: Config) -> TrainedOn | None:
    names, found = read_about(config.init)
    if not names or found is None:
        return None
    return TrainedOn(names, found.image_shape, found.resize, None)


def _with(config: Config, known: TrainedOn, images: bool) -> Experiment:
    made = kind_of(config).reopen(config, known, images)
    return assemble(config, sharding.make_mesh(), made)


def check_trained(config: Config) -> None:
    """Raises an error unless the config's folder has a run of its network."""
    workdir = workdir_of(config)
    if not (workdir / "checkpoints").is_dir():
        raise CheckpointError(
            f"no run in {workdir}. Train first: python -m train fit …, with the same "
            "config and --workdir. Or give a file of weights: --init FILE."
        )
    check_fields(workdir, config, FREE_TO_USE)


def restore(experiment: Experiment) -> TrainState:
    """The last state that the experiment's run saved, or the weights of init.file."""
    if uses_file(experiment.config):
        return first_state(experiment, read_init(experiment))
    check_trained(experiment.config)
    checkpoints = Checkpoints(experiment.workdir / "checkpoints")
    state, _ = checkpoints.restore(experiment.abstract_state)
    return state
