"""From a config to the objects it describes: the only place that knows both."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from prm_flax import create_model
from train import sharding
from train.check import (
    check_batches,
    check_channels,
    check_classes,
    check_config,
    check_dtype,
    check_known,
)
from train.config import Config, Model
from train.data.fake import fake
from train.data.fashion_mnist import load_fashion_mnist
from train.data.idx import load_idx
from train.data.pipeline import TrainBatches
from train.data.source import Splits
from train.optim import Schedule, make_optimizer, make_schedule
from train.state import TrainState, init_state
from train.step import (
    make_eval_step,
    make_predict_step,
    make_train_step,
    normalize,
)

ROOT = Path(__file__).resolve().parent.parent


def _load_idx(config: Config) -> Splits:
    if config.data.root is None:
        raise ValueError("data.source idx needs data.root, the folder of its files.")
    return load_idx(config.data.root)


SOURCES: MappingProxyType[str, Callable[[Config], Splits]] = MappingProxyType(
    {
        "fashion_mnist": lambda config: load_fashion_mnist(config.data.root),
        "idx": _load_idx,
        "fake": lambda config: fake(config.seed, 4096, (28, 28, 1), 10),
    }
)


class Experiment(NamedTuple):
    """All that a command needs.

    Attributes:
        config: what it was built from.
        workdir: the run's folder; not made yet.
        splits: the images.
        model: the network.
        model_options: what `create_model` was given besides the name.
        mesh: the devices.
        batches: step -> the training batch.
        schedule: step -> learning rate.
        steps: of the whole run.
        init: makes the first state, on the devices.
        abstract_state: its shapes, dtypes and shardings.
        train_step: `(state, batch) -> state`.
        eval_step: `(state, batch) -> Metrics`.
        predict_step: `(state, images) -> logits`.
    """

    config: Config
    workdir: Path
    splits: Splits
    model: nn.Module
    model_options: dict[str, Any]
    mesh: Mesh
    batches: TrainBatches
    schedule: Schedule
    steps: int
    init: Callable[[], TrainState]
    abstract_state: TrainState
    train_step: Callable[..., TrainState]
    eval_step: Callable[..., Any]
    predict_step: Callable[..., jax.Array]


def build(config: Config) -> Experiment:
    """Checks the config and builds what it describes; compiles and writes nothing.

    Raises:
        ValueError: a field's value is not allowed, or two fields do not fit.
    """
    check_config(config)
    check_dtype(config.model.dtype)
    check_known("data.source", config.data.source, SOURCES)
    create_model(config.model.name, 1, **model_options(config.model))
    splits = SOURCES[config.data.source](config)
    train = splits.train
    mesh = sharding.make_mesh()
    check_batches(config, mesh.size, len(train))
    check_classes(config, train.num_classes)
    check_channels(config, train.image_shape[-1])

    options = model_options(config.model) | {"num_classes": train.num_classes}
    model = create_model(config.model.name, **options)
    data = config.data
    batches = TrainBatches(
        train, config.batch_size, config.seed, data.crop_padding, data.flip
    )
    epoch = batches.steps_per_epoch
    schedule = make_schedule(config.optim, config.epochs, epoch)
    optimizer = make_optimizer(config.optim, schedule)
    prepare = functools.partial(normalize, mean=data.mean, std=data.std)
    train_step = make_train_step(
        model,
        optimizer,
        prepare,
        label_smoothing=config.optim.label_smoothing,
        seed=config.seed,
    )

    init = functools.partial(
        init_state, model, optimizer, train.image_shape, config.seed
    )
    return Experiment(
        config=config,
        workdir=workdir_of(config),
        splits=splits,
        model=model,
        model_options=options,
        mesh=mesh,
        batches=batches,
        schedule=schedule,
        steps=config.epochs * epoch,
        init=sharding.jit_init(mesh, init),
        abstract_state=_abstract(mesh, init),
        train_step=sharding.jit_train_step(mesh, train_step),
        eval_step=sharding.jit_eval_step(mesh, make_eval_step(model, prepare)),
        predict_step=sharding.jit_eval_step(mesh, make_predict_step(model, prepare)),
    )


def workdir_of(config: Config) -> Path:
    """The run's folder: workdir, or runs/NAME in the checkout."""
    path = Path(config.workdir) if config.workdir else ROOT / "runs" / config.name
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
