"""The numbers of a whole set: every example counts exactly once."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from etils import epath

from train.distributed import on_first
from train.state import TrainState, averaged
from train.tasks.task import Evaluator


class Stopped(Exception):
    """A signal came while evaluating."""


def weights_of(state: TrainState) -> dict[str, TrainState]:
    """Kind of record -> the weights it is measured with: "test", and "ema" if kept."""
    kinds = {"test": state}
    return kinds | {"ema": averaged(state)} if state.ema else kinds


def write_outputs(evaluator: Evaluator, folder: epath.Path) -> None:
    """Writes what an evaluator leaves in the run's folder, if it leaves anything."""
    write = getattr(evaluator, "write", None)
    if write is not None:
        on_first(lambda: write(folder))


def evaluate(
    state: TrainState,
    batches: Iterable[dict[str, np.ndarray]],
    put: Callable[[dict[str, np.ndarray]], Any],
    eval_step: Callable[[TrainState, Any], tuple[Any, Any]],
    evaluator: Evaluator,
    stop: object = False,
) -> dict[str, float]:
    """Goes through all batches, padding left out by their masks.

    Outputs of all processes come to each of them, so that all have the same numbers,
    and these need not be sums over processes.

    Args:
        state: whose network is evaluated.
        batches: of this process, as `train.data.input.Input.test` makes.
        put: takes a batch to the devices.
        eval_step: the outputs of one batch, see `train.step.make_eval_step`.
        evaluator: a new one.
        stop: looked at before every batch; when true, the evaluation ends.

    Returns:
        images, how many there were, and the evaluator's numbers.

    Raises:
        Stopped: `stop` became true.
    """
    images, ahead = 0, None

    def add(made: tuple[Any, Any]) -> int:
        outputs, batch = jax.device_get(made)
        evaluator.add(outputs, batch)
        return int(batch["mask"].sum())

    for batch in batches:
        if stop:
            raise Stopped
        # The devices are at the next batch while the host takes this one in.
        made, ahead = ahead, eval_step(state, put(batch))
        images += add(made) if made else 0
    images += add(ahead) if ahead else 0
    return {"images": images, **evaluator.result()}
