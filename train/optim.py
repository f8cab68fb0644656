"""The learning rate of the paper's and of the mobile recipe, and SGD."""

from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import optax

from train.config import Optim

Schedule = Callable[[Any], Any]


def step_schedule(step, *, optim: Optim, epochs: int, steps_per_epoch: int):
    """Step decay, lr · factor^⌊epoch / step_epochs⌋, after a linear warm-up if any.

    The paper: "initialized to 0.1 and divided by a factor of 10 every 30 epochs".

    Args:
        step: updates made so far, an integer array.
        optim: the options.
        epochs: of the whole run.
        steps_per_epoch: updates an epoch.

    Returns:
        The rate of the next update.
    """
    decays = step // (optim.step_epochs * steps_per_epoch)
    rate = optim.peak_lr * jnp.power(optim.step_factor, decays)
    return rate * _warmup(step, optim, steps_per_epoch)


def cosine_schedule(step, *, optim: Optim, epochs: int, steps_per_epoch: int):
    """Linear warm-up over W epochs, then half a cosine down to 0.

    With t = (step + 1) / steps_per_epoch, W warm-up epochs and E epochs in all (the
    official mobile recipe has W = 5, E = 150)::

        t ≤ W:  lr · t / W
        t > W:  lr / 2 · (1 + cos(π (t - W) / (E - W)))

    Args and Returns as of `step_schedule`.
    """
    t = (step + 1) / steps_per_epoch
    done = (t - optim.warmup_epochs) / max(epochs - optim.warmup_epochs, 1e-12)
    cosine = 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip(done, 0, 1)))
    return optim.peak_lr * cosine * _warmup(step, optim, steps_per_epoch)


def _warmup(step, optim: Optim, steps_per_epoch: int):
    if optim.warmup_epochs == 0:
        return 1.0
    return jnp.minimum((step + 1) / steps_per_epoch / optim.warmup_epochs, 1.0)


SCHEDULES = MappingProxyType({"step": step_schedule, "cosine": cosine_schedule})


def _kernels(params):
    def is_kernel(path, _):
        return path[-1].key == "kernel"

    return jax.tree_util.tree_map_with_path(is_kernel, params)


# Which parameters decay: optax's mask, None for all.
DECAY_MASKS = MappingProxyType({"all": None, "kernels": _kernels})


def make_schedule(optim: Optim, epochs: int, steps_per_epoch: int) -> Schedule:
    """The learning rate as a function of the updates made so far."""
    return partial(
        SCHEDULES[optim.schedule],
        optim=optim,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
    )


def make_optimizer(optim: Optim, schedule: Schedule) -> optax.GradientTransformation:
    """SGD as PyTorch's: decay joins the gradient, momentum sums, the rate scales.

    g ← g + decay·p;  m ← momentum·m + g;  p ← p - lr·m  (Nesterov: g + momentum·m).
    """
    return optax.chain(
        optax.add_decayed_weights(optim.weight_decay, DECAY_MASKS[optim.decay]),
        optax.sgd(schedule, optim.momentum or None, optim.nesterov),
    )
