"""Predicts the test images of a finished run: class probabilities and labels."""

import dataclasses
import functools
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_flax.interop import safetensors
from prm_flax.runs import read_config
from train.config import Config
from train.experiment import Experiment
from train.report import WEIGHTS
from train.state import TrainState
from train.tasks.metrics import Metrics
from train.workdir.trained import experiment_of_run


class Predictions(NamedTuple):
    """Of the test images, in the order of the data.

    Attributes:
        probabilities: float64 (n, classes), each row sums to 1.
        labels: int32 (n,).
        class_names: of the columns.
    """

    probabilities: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]


def predictions_of_run(folder: Path, kind: str = "test") -> Predictions:
    """The probabilities that a finished run's network gives its test images.

    p = softmax(logits), in float64 of the network's logits.

    Args:
        folder: of the run, with config.json and model.safetensors.
        kind: "test" for the weights, "ema" for their moving average.

    Returns:
        One row for each test image that can be decoded.

    Raises:
        ValueError: the folder is not that of a finished run, or its config is of
            another version of the program.
        FileNotFoundError: the run's images are not here.
    """
    config = single_process(config_of(read_config(folder)), folder)
    file = folder / WEIGHTS[kind]
    if not file.is_file():
        raise ValueError(
            f"a finished run has {file.name}: {file} is not there. Has "
            "`python -m train fit` ended, and with --optim.ema if it is an average?"
        )
    _, variables = safetensors.load(file)
    return predictions(experiment_of_run(config), variables)


def predictions(experiment: Experiment, variables: Mapping[str, Any]) -> Predictions:
    """As `predictions_of_run`, of a network's weights on an experiment's images.

    Args:
        experiment: whose images, normalisation and network.
        variables: params, and batch_stats where the network has them.
    """
    state = _state(variables)
    rows: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    for batch in experiment.input.test():
        shown = np.asarray(batch["mask"]) > 0
        logits = np.asarray(experiment.predict_step(state, batch), np.float64)
        rows.append(_softmax(logits)[shown])
        labels.append(np.asarray(batch["label"])[shown])
    return Predictions(
        np.concatenate(rows), np.concatenate(labels), experiment.input.class_names
    )


def config_of(flat: Mapping[str, Any]) -> Config:
    """The config that a run's config.json holds.

    Args:
        flat: dotted name of each field -> its value; a missing one has its default.

    Raises:
        ValueError: a field is none of this version's.
    """
    unused = dict(flat)
    config = _filled(Config(name=""), "", unused)
    if unused:
        raise ValueError(
            f"config.json has fields that are not the program's: {', '.join(unused)}. "
            "Was the run made by another version?"
        )
    return config


def _filled(default: Any, prefix: str, unused: dict[str, Any]) -> Any:
    """The dataclass with the values under a prefix, which are taken out of `unused`."""
    values = {}
    for field in dataclasses.fields(default):
        value, name = getattr(default, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            values[field.name] = _filled(value, f"{name}.", unused)
        elif name in unused:
            found = unused.pop(name)
            values[field.name] = tuple(found) if isinstance(found, list) else found
    return dataclasses.replace(default, **values)


def single_process(config: Config, folder: Path) -> Config:
    """The same images and network, in this process alone.

    Args:
        config: of the run.
        folder: where the run is now.
    """
    data = dataclasses.replace(config.data, workers=0)
    workdir = str(folder)
    return dataclasses.replace(config, data=data, distributed=False, workdir=workdir)


def _state(variables: Mapping[str, Any]) -> TrainState:
    """A state to predict with: it has weights and nothing of a training."""
    zero = functools.partial(jnp.zeros, (), jnp.int32)
    return TrainState(
        step=zero(),
        params=jax.tree.map(jnp.asarray, variables["params"]),
        batch_stats=jax.tree.map(jnp.asarray, variables.get("batch_stats", {})),
        opt_state={},
        ema={},
        metrics=Metrics.empty(),  # pyright: ignore[reportArgumentType]
        skipped=zero(),
        bad_step=zero(),
    )


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def main(folder: Path) -> None:
    """Prints the probabilities of the last class and the labels, as JSON."""
    found = predictions_of_run(folder)
    scores = found.probabilities[:, -1].round(5).tolist()
    print(json.dumps({"scores": scores, "labels": found.labels.tolist()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
