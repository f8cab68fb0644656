"""From a config to the objects it describes: the only place that knows both."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from etils import epath
from jax.sharding import Mesh

from prm_flax import create_model
from train import sharding
from train.config import Config, Model
from train.data.input import Batch, Input, Shard
from train.data.sources import SOURCES
from train.nonfinite import make_diagnosis
from train.optim import Schedule, make_optimizer, make_schedule
from train.state import TrainState, init_state
from train.step import (
    make_eval_step,
    make_predict_step,
    make_train_step,
    normalize,
)
from train.tasks.mixup import make_mix
from train.validate import (
    check_channels,
    check_classes,
    check_config,
    check_dtype,
    check_known,
    check_shares,
)

ROOT = Path(__file__).resolve().parent.parent


class Experiment(NamedTuple):
    """All that a command needs.

    Attributes:
        config: what it was built from.
        workdir: the run's folder; not made yet.
        input: the images.
        model: the network.
        model_options: what `create_model` was given besides the name.
        mesh: the devices.
        schedule: step -> learning rate.
        steps_per_epoch: whole batches in one pass over the training images.
        steps: of the whole run.
        init: makes the first state, on the devices.
        abstract_state: its shapes, dtypes and shardings.
        put: takes this process's images of a training batch to the devices.
        train_step: `(state, batch) -> state`.
        diagnose: `(state, batch) -> message`, why a step could not be made.
        eval_step: `(state, batch) -> Metrics`.
        predict_step: `(state, images) -> logits`, on one device.
    """

    config: Config
    workdir: epath.Path
    input: Input
    model: nn.Module
    model_options: dict[str, Any]
    mesh: Mesh
    schedule: Schedule
    steps_per_epoch: int
    steps: int
    init: Callable[[], TrainState]
    abstract_state: TrainState
    put: Callable[[Batch], Any]
    train_step: Callable[..., TrainState]
    diagnose: Callable[..., str]
    eval_step: Callable[..., Any]
    predict_step: Callable[..., jax.Array]


def build(config: Config, fetch: bool = True) -> Experiment:
    """Checks the config and builds what it describes; compiles and writes nothing.

    Args:
        config: of the run.
        fetch: whether data that are not on this machine may be fetched.

    Raises:
        ValueError: a field's value is not allowed, or two fields do not fit.
    """
    mesh = sharding.make_mesh()
    check_options(config, mesh.size)
    shard = Shard(jax.process_index(), jax.process_count())
    return assemble(
        config, mesh, SOURCES[config.data.source].open(config, shard, fetch)
    )


def check_options(config: Config, devices: int) -> None:
    """All that can be checked of a config before its images are opened."""
    check_config(config)
    check_dtype(config.model.dtype)
    check_known("data.source", config.data.source, SOURCES)
    create_model(config.model.name, 1, **model_options(config.model))
    check_shares(config, devices)


def assemble(config: Config, mesh: Mesh, images: Input) -> Experiment:
    """What a config describes, on these devices and images; no image is read."""
    check_classes(config, len(images.class_names))
    check_channels(config, images.image_shape[-1])
    options = model_options(config.model) | {"num_classes": len(images.class_names)}
    model = create_model(config.model.name, **options)
    return _assemble(config, mesh, images, model, options)


def _assemble(
    config: Config, mesh: Mesh, images: Input, model: nn.Module, options: dict
) -> Experiment:
    """The functions of a run, from its parts."""
    data, optim = config.data, config.optim
    epoch = images.train_images // config.batch_size
    schedule = make_schedule(optim, config.epochs, epoch, config.batch_size)
    optimizer = make_optimizer(optim, schedule)
    prepare = functools.partial(normalize, mean=data.mean, std=data.std)
    init = functools.partial(
        init_state,
        model,
        optimizer,
        images.image_shape,
        config.seed,
        ema=optim.ema > 0,
        loss_scale=config.model.dtype == "float16",
    )
    mix = make_mix(data.mixup, data.cutmix)
    train_step = make_train_step(
        model,
        optimizer,
        prepare,
        label_smoothing=optim.label_smoothing,
        seed=config.seed,
        accumulate=optim.accumulate,
        shards=mesh.size,
        ema=optim.ema,
        mix=mix,
        skip_bad_steps=optim.skip_bad_steps,
    )
    diagnose = make_diagnosis(
        model,
        prepare,
        label_smoothing=optim.label_smoothing,
        seed=config.seed,
        mix=mix,
    )
    parallel = sharding.PARALLEL[config.parallel]
    return Experiment(
        config=config,
        workdir=workdir_of(config),
        input=images,
        model=model,
        model_options=options,
        mesh=mesh,
        schedule=schedule,
        steps_per_epoch=epoch,
        steps=config.epochs * epoch,
        init=sharding.jit_init(mesh, init),
        abstract_state=_abstract(mesh, init),
        put=functools.partial(parallel.put, mesh),
        train_step=parallel.train_step(mesh, train_step),
        diagnose=diagnose,
        eval_step=sharding.jit_eval_step(mesh, make_eval_step(model, prepare)),
        predict_step=jax.jit(make_predict_step(model, prepare)),
    )


def workdir_of(config: Config) -> epath.Path:
    """The run's folder: workdir, which may be gs://…, or runs/NAME in the checkout."""
    path = epath.Path(config.workdir or ROOT / "runs" / config.name)
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def model_options(model: Model) -> dict[str, Any]:
    """The options that `create_model` gets: those that are not None."""
    options = {
        field.name: getattr(model, field.name)
        for field in dataclasses.fields(model)
        if field.name not in ("name", "num_classes")
    }
    options["dtype"] = None if model.dtype is None else jnp.dtype(model.dtype)
    return {name: value for name, value in options.items() if value is not None}


def _abstract(mesh: Mesh, init: Callable[[], TrainState]) -> TrainState:
    """Shapes, dtypes, shardings; a network that cannot take the images fails here."""
    whole = sharding.replicated(mesh)
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=whole),
        jax.eval_shape(init),
    )


def parameter_count(experiment: Experiment) -> int:
    """Trainable numbers of the network."""
    leaves = jax.tree.leaves(experiment.abstract_state.params)
    return sum(leaf.size for leaf in leaves)
