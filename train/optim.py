"""The learning rate of the paper's and of the mobile recipe, SGD and LARS."""

import dataclasses
from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import optax

from train.config import Optim
from train.decay import decay_mask

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


def peak_rate(optim: Optim, batch_size: int) -> float:
    """The highest learning rate: peak_lr, in proportion to the batch if lr_images.

    Reference: Goyal et al. 2017, arXiv:1706.02677, the linear scaling rule.
    """
    if optim.lr_images is None:
        return optim.peak_lr
    return optim.peak_lr * batch_size / optim.lr_images


def make_schedule(
    optim: Optim, epochs: int, steps_per_epoch: int, batch_size: int
) -> Schedule:
    """The learning rate as a function of the updates made so far.

    Args:
        optim: the options.
        epochs: of the whole run.
        steps_per_epoch: updates an epoch.
        batch_size: images an update, of all devices together.
    """
    return partial(
        SCHEDULES[optim.schedule],
        optim=dataclasses.replace(optim, peak_lr=peak_rate(optim, batch_size)),
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
    )


def sgd(optim: Optim, schedule: Schedule) -> optax.GradientTransformation:
    """SGD as PyTorch's: decay joins the gradient, momentum sums, the rate scales.

    g ← g + decay·p;  m ← momentum·m + g;  p ← p - lr·m  (Nesterov: g + momentum·m).
    """
    return optax.chain(
        optax.add_decayed_weights(optim.weight_decay, decay_mask(optim.no_decay)),
        optax.sgd(schedule, optim.momentum or None, optim.nesterov),
    )


def lars(optim: Optim, schedule: Schedule) -> optax.GradientTransformation:
    """SGD with a rate for each layer, in proportion to its weights' length.

    g ← g + decay·p;  g ← lr·g, and for p of two axes or more g ← 0.001·‖p‖/‖g‖ · lr·g;
    m ← momentum·m + g;  p ← p - m  (Nesterov: g + momentum·m).

    Norms, biases and PRM's parameters have one axis or none: their rate is lr. Optax
    divides by ‖g + decay·p‖ where the paper has ‖g‖ + decay·‖p‖.

    Reference: You et al. 2017, arXiv:1708.03888.
    """
    return optax.lars(
        schedule,
        optim.weight_decay,
        decay_mask(optim.no_decay),
        trust_ratio_mask=partial(jax.tree.map, lambda leaf: leaf.ndim > 1),
        momentum=optim.momentum,
        nesterov=optim.nesterov,
    )


OPTIMIZERS = MappingProxyType({"sgd": sgd, "lars": lars})


def make_optimizer(optim: Optim, schedule: Schedule) -> optax.GradientTransformation:
    """The optimiser of the options, clipping the raw gradients first if asked."""
    optimizer = OPTIMIZERS[optim.optimizer](optim, schedule)
    if optim.clip_norm is None:
        return optimizer
    return optax.chain(optax.clip_by_global_norm(optim.clip_norm), optimizer)
