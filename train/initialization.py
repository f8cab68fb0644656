"""A run's first state: random weights, or those of `--init FILE --init.new prm,fc`."""

import dataclasses

import jax
import jax.numpy as jnp
from etils import epath

from prm_flax.interop.insert import insert_prm
from prm_flax.interop.shapes import Path, flatten, unflatten
from train import sharding
from train.agree import any_process
from train.checkpoints.steps import Steps
from train.config import Config
from train.console import say
from train.experiment import Experiment, workdir_of
from train.state import TrainState
from train.workdir.same_config import started_from


def has_saved(workdir: epath.Path) -> bool:
    """Whether a run's folder has a state to go on from."""
    return any_process(bool(Steps(workdir / "checkpoints").usable()))


def uses_file(config: Config) -> bool:
    """Whether the network is init.file's, and not that of a run which started there."""
    if config.init.file is None:
        return False
    workdir = workdir_of(config)
    return not (has_saved(workdir) and started_from(workdir, config))


def first_state(experiment: Experiment, given: dict[Path, jax.Array]) -> TrainState:
    """The state before the first update.

    Args:
        experiment: what runs.
        given: of `read_init`; all else is drawn at random. Fresh PRMs are put in so
            that the outputs stay, see `insert_prm`.
    """
    state = experiment.init()
    if not given:
        return state
    init = experiment.config.init
    say(f"weights: {init.file}" + (f", new: {', '.join(init.new)}" if init.new else ""))
    drawn = flatten(jax.device_get(state.variables))
    shape = experiment.input.image_shape
    variables = insert_prm(experiment.model, unflatten(drawn | given), shape, given)
    placed = sharding.put_state(experiment.mesh, variables)
    # Copies: a step that takes the state's memory must not take an array twice.
    ema = jax.tree.map(jnp.copy, placed) if state.ema else {}
    return dataclasses.replace(state, **placed, ema=ema)
