"""The metrics of a whole set: every image counts exactly once."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from train.state import TrainState, averaged
from train.tasks.metrics import Metrics


class Stopped(Exception):
    """A signal came while evaluating."""


def weights_of(state: TrainState) -> dict[str, TrainState]:
    """Kind of record -> the weights it is measured with: "test", and "ema" if kept."""
    kinds = {"test": state}
    return kinds | {"ema": averaged(state)} if state.ema else kinds


def evaluate(
    state: TrainState,
    batches: Iterable[dict[str, np.ndarray]],
    put: Callable[[dict[str, np.ndarray]], Any],
    eval_step: Callable[[TrainState, Any], Metrics],
    stop: object = False,
) -> Metrics:
    """Sums the metrics of all batches, padding left out by their masks.

    Args:
        state: whose network is evaluated.
        batches: image, label and mask, as `train.data.input.Input.test` makes.
        put: takes a batch to the devices.
        eval_step: the metrics of one batch.
        stop: looked at before every batch; when true, the evaluation ends.

    Returns:
        The metrics over all images.

    Raises:
        Stopped: `stop` became true.
    """
    total = None
    for batch in batches:
        if stop:
            raise Stopped
        metrics = eval_step(state, put(batch))
        total = metrics if total is None else total.merge(metrics)
    return Metrics.empty() if total is None else total
