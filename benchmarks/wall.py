"""Time on this machine: ResNet-50 plain and with PRM, in turn, in one process."""

import dataclasses
import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from benchmarks.results import Row
from benchmarks.steps import OURS, PLAIN
from benchmarks.timing import alternate
from train import sharding
from train.data.input import Batch
from train.experiment import Experiment, assemble
from train.preflight.compile import with_batch
from train.tasks.classification_setup import fake_input

PACKAGES = ("jax", "jaxlib", "flax", "optax")
TIMED = True
IMAGES, SIDE = 8, 224  # float32
ROUNDS = 15


def cases() -> dict[str, Callable[[], Row]]:
    """The training step, and the forward pass of evaluation."""
    return {
        "training step": partial(_compare, Training),
        "forward": partial(_compare, forward),
    }


def _compare(way: Callable[[Experiment], Callable[[], Any]]) -> Row:
    return alternate({name: way(experiment(name)) for name in (PLAIN, OURS)}, ROUNDS)


def experiment(network: str, images: int = IMAGES, **model: Any) -> Experiment:
    """A config of configs/imagenet on one device, with so many images.

    `model` changes fields of the config's.
    """
    config = importlib.import_module(f"configs.imagenet.{network}").config()
    changed = dataclasses.replace(config.model, batch_norm="global", **model)
    config = dataclasses.replace(with_batch(config, 1, images), model=changed)
    return assemble(config, sharding.make_mesh(jax.devices()[:1]), fake_input(config))


def batch(images: int = IMAGES, side: int = SIDE) -> dict[str, np.ndarray]:
    """Noise, always the same."""
    random = np.random.default_rng(0)
    shape = (images, side, side, 3)
    return {
        "image": random.integers(0, 256, shape, np.uint8),
        "label": random.integers(0, 1000, images, np.int32),
    }


class Training:
    """A training that goes on by a step, of the same images, whenever it is called."""

    def __init__(self, experiment: Experiment, images: Batch | None = None):
        self.step, self.state = experiment.train_step, experiment.init()
        self.batch = experiment.put(batch() if images is None else images)

    def __call__(self) -> Any:
        """The state after one more step."""
        self.state = self.step(self.state, self.batch)
        return self.state


def forward(experiment: Experiment) -> Callable[[], jax.Array]:
    """The logits of the images."""
    state, images = experiment.init(), jax.device_put(batch())
    return lambda: experiment.predict_step(state, images)
