"""From a config to the objects it describes: the only place that knows both."""

import functools
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
from etils import epath
from jax.sharding import Mesh

from train import sharding
from train.config import BaseConfig, Config, DetectionConfig
from train.data.input import Batch, Input, Shard
from train.nonfinite import make_diagnosis
from train.optim import Schedule, make_optimizer, make_schedule, of_trainable
from train.state import TrainState, init_state
from train.step import make_eval_step, make_predict_step, make_train_step
from train.tasks import classification_setup, detection_setup
from train.tasks.task import Shown, Task, TaskKind
from train.validate import check_config, check_dtype, check_parts, check_shares

ROOT = Path(__file__).resolve().parent.parent

# Class of a config -> the task that such a config describes.
TASKS: MappingProxyType[type[BaseConfig], TaskKind] = MappingProxyType(
    {Config: classification_setup.KIND, DetectionConfig: detection_setup.KIND}
)


def kind_of(config: BaseConfig) -> TaskKind:
    """The kind of task that a config describes, by its class.

    Raises:
        TypeError: it has none.
    """
    for parent in type(config).__mro__:
        if parent in TASKS:
            return TASKS[parent]
    raise TypeError(
        f"a config's class decides its task, {type(config).__name__} has none: its "
        "config() must return one of " + ", ".join(kind.__name__ for kind in TASKS)
    )


class Experiment(NamedTuple):
    """All that a command needs.

    Attributes:
        config: what it was built from.
        workdir: the run's folder; not made yet.
        input: the examples.
        task: what is trained.
        mesh: the devices.
        schedule: step -> learning rate.
        steps_per_epoch: whole batches in one pass over the training images.
        steps: of the whole run.
        init: makes the first state, on the devices.
        abstract_state: its shapes, dtypes and shardings.
        put: takes this process's examples of a training batch to the devices.
        train_step: `(state, batch) -> state`.
        diagnose: `(state, batch) -> message`, why a step could not be made.
        eval_step: `(state, batch) -> (outputs, the rest of the batch)`.
        predict_step: `(state, batch) -> outputs`, on one device.
    """

    config: Any
    workdir: epath.Path
    input: Input
    task: Task
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
    predict_step: Callable[..., Any]

    @property
    def model(self) -> Any:
        """The network."""
        return self.task.model

    def show(
        self,
        state: TrainState,
        examples: Any,
        names: list[str],
        truth: Any,
    ) -> Shown:
        """What the network says of examples, see `Task.show`."""
        # On one device of this process: other processes need not take part.
        state = jax.device_get(state)
        predict = functools.partial(self.predict_step, state)
        return self.task.show(predict, state.variables, examples, names, truth)


def build(config: BaseConfig, fetch: bool = True) -> Experiment:
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
    return assemble(config, mesh, kind_of(config).open(config, shard, fetch))


def check_options(config: BaseConfig, devices: int) -> None:
    """All that can be checked of a config before its examples are opened."""
    check_config(config)
    check_dtype(config.model.dtype)
    check_shares(config, devices)
    kind_of(config).check(config, devices)
    check_parts(config, devices)


def assemble(config: BaseConfig, mesh: Mesh, examples: Input) -> Experiment:
    """What a config describes, on these devices and examples; none of them is read."""
    task, optim = kind_of(config).make(config, examples), config.optim
    epoch = examples.epoch_batches
    schedule = make_schedule(optim, config.epochs, epoch, config.batch_size)
    optimizer = of_trainable(make_optimizer(optim, schedule), task.trainable)
    init = functools.partial(
        init_state,
        task,
        optimizer,
        config.seed,
        ema=optim.ema > 0,
        loss_scale=config.model.dtype == "float16",
    )
    train_step = make_train_step(
        task,
        optimizer,
        seed=config.seed,
        accumulate=optim.accumulate,
        shards=mesh.size,
        ema=optim.ema,
        skip_bad_steps=optim.skip_bad_steps,
    )
    parallel = sharding.PARALLEL[config.parallel]
    return Experiment(
        config=config,
        workdir=workdir_of(config),
        input=examples,
        task=task,
        mesh=mesh,
        schedule=schedule,
        steps_per_epoch=epoch,
        steps=config.epochs * epoch,
        init=sharding.make_init(mesh, init),
        abstract_state=_abstract(mesh, init),
        put=functools.partial(parallel.put, mesh),
        train_step=parallel.train_step(mesh, train_step),
        diagnose=make_diagnosis(task, config.seed),
        eval_step=sharding.jit_eval_step(mesh, make_eval_step(task)),
        predict_step=jax.jit(make_predict_step(task)),
    )


def workdir_of(config: BaseConfig) -> epath.Path:
    """The run's folder: workdir, which may be gs://…, or runs/NAME in the checkout."""
    path = epath.Path(config.workdir or ROOT / "runs" / config.name)
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


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
