"""The smallest networks and states that train: they compile in a blink."""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from prm_flax.layers.norm import BatchNorm
from train.state import TrainState, init_state
from train.step import make_train_step
from train.tasks.classification import Classification

IMAGE = (6, 6, 2)
CLASSES = 5
OPTIMIZER = optax.chain(
    optax.add_decayed_weights(1e-3), optax.sgd(0.2, 0.9, nesterov=True)
)


class Net(nn.Module):
    """Convolution, batch norm, dropout, classifier."""

    batch_norm: int | str = 4
    dropout: float = 0.0
    dtype: Any = jnp.float32
    num_classes: int = CLASSES

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Conv(4, (3, 3), param_dtype=self.dtype)(x)
        x = BatchNorm(images=self.batch_norm, param_dtype=self.dtype)(x, train=train)
        x = nn.relu(x).mean((1, 2))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.num_classes, param_dtype=self.dtype)(x)


def prepare(images, dtype):
    """uint8 to [0, 1] of a dtype."""
    return images.astype(dtype) / 255


def ready(model: Net):
    """What takes the model's images to what it takes."""
    return functools.partial(prepare, dtype=model.dtype)


def task(model: nn.Module, prepare=None, **options: Any) -> Classification:
    """The classification of images; `options` are those of the class."""
    return Classification(model, prepare, **{"image_shape": IMAGE} | options)


def train_step(model: nn.Module, optimizer, prepare, **options: Any):
    """A step of it; `options` are the task's and `make_train_step`'s."""
    names = {field.name for field in dataclasses.fields(Classification)}
    ours = {name: options.pop(name) for name in names & set(options)}
    return make_train_step(task(model, prepare, **ours), optimizer, **options)


def init(model: nn.Module, ema: bool = False) -> TrainState:
    return init_state(task(model), OPTIMIZER, 0, ema)


@functools.cache
def _numbers(model: nn.Module, ema: bool) -> TrainState:
    return jax.device_get(jax.jit(functools.partial(init, model, ema))())


def new_state(model: nn.Module, ema: bool = False) -> TrainState:
    """The first state, in arrays of its own: a step may take their memory."""
    return jax.tree.map(jnp.array, _numbers(model, ema))


def new_step(model: Net, **options: Any):
    """A step with some label smoothing; `options` are those of `train_step`."""
    options = {"label_smoothing": 0.1} | options
    return train_step(model, OPTIMIZER, ready(model), **options)


def batch(number: int, images: int = 16) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(number)
    return {
        "image": generator.integers(0, 256, (images, *IMAGE), np.uint8),
        "label": generator.integers(0, CLASSES, images, np.int32),
    }
