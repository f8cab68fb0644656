"""The learning rate of the paper's and of the mobile recipe, SGD and LARS."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import optax

from prm_flax import PRMParams
from prm_flax.errors import unknown
from train.config import BaseOptim

# A module's parameters by name. What it is follows from them: a user's model may give
# its modules any name.
Module = Mapping[str, Any]


def _is_prm(module: Module) -> bool:
    return module.keys() == set(PRMParams._fields)


# name -> whether the parameter `leaf` of a module is of this kind.
EXEMPT: MappingProxyType[str, Callable[[str, Module], bool]] = MappingProxyType(
    {
        "norms": lambda leaf, module: "scale" in module,
        "biases": lambda leaf, module: leaf == "bias",
        "prm": lambda leaf, module: _is_prm(module),
        "d_theta": lambda leaf, module: _is_prm(module) and leaf in ("d", "theta"),
        # Kernels (kh, kw, inputs, outputs) whose outputs see one channel each. So does
        # the stem of a network for grey images: it counts as one of them.
        "depthwise": lambda leaf, module: (
            leaf == "kernel" and module[leaf].ndim == 4 and module[leaf].shape[2] == 1
        ),
    }
)


def decay_mask(exempt: tuple[str, ...]) -> Callable[[Any], Any]:
    """Makes optax's mask of the parameters that decay.

    A parameter decays unless it is of a kind that is exempt. None exempt is the way of
    the official ResNet program; norms, biases, prm and depthwise that of the official
    mobile recipe.

    Args:
        exempt: names of `EXEMPT`.

    Returns:
        The function that takes the parameters (nested dictionaries) to the same tree
        of booleans, True for those that decay.

    Raises:
        ValueError: a name is not in `EXEMPT`; the message has the nearest that is.

    Example:
        >>> import jax.numpy as jnp
        >>> from train.optim import decay_mask
        >>> fc = {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}
        >>> decay_mask(("biases",))({"fc": fc})
        {'fc': {'kernel': True, 'bias': False}}
    """
    for name in exempt:
        if name not in EXEMPT:
            raise unknown("exemption from decay", name, EXEMPT)
    return partial(_decays, exempt=exempt)


def _decays(module: Module, *, exempt: tuple[str, ...]) -> dict[str, Any]:
    return {
        name: (
            _decays(value, exempt=exempt)
            if isinstance(value, Mapping)
            else not any(EXEMPT[kind](name, module) for kind in exempt)
        )
        for name, value in module.items()
    }


Schedule = Callable[[Any], Any]


def step_schedule(step, *, optim: BaseOptim, epochs: int, steps_per_epoch: int):
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


def cosine_schedule(step, *, optim: BaseOptim, epochs: int, steps_per_epoch: int):
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


def _warmup(step, optim: BaseOptim, steps_per_epoch: int):
    if optim.warmup_epochs == 0:
        return 1.0
    return jnp.minimum((step + 1) / steps_per_epoch / optim.warmup_epochs, 1.0)


def milestones_schedule(step, *, optim: Any, epochs: int, steps_per_epoch: int):
    """A tenth after each milestone, and a linear warm-up over so many steps.

    With k updates made and W warm-up steps, lr · f^(milestones passed) times::

        1 - (1 - k / W) · (1 - 0.001)    while k < W

    Args and Returns as of `step_schedule`. Reference: the detection library that the
    paper's authors used, its step policy with linear warm-up.
    """
    ends = jnp.array([m * steps_per_epoch for m in optim.milestones], jnp.int32)
    rate = optim.peak_lr * jnp.power(optim.step_factor, (step >= ends).sum())
    if not optim.warmup_steps:
        return rate
    left = jnp.clip(1 - step / optim.warmup_steps, 0, 1)
    return rate * (1 - left * (1 - WARMUP_START))


WARMUP_START = 1e-3
SCHEDULES = MappingProxyType(
    {
        "step": step_schedule,
        "cosine": cosine_schedule,
        "milestones": milestones_schedule,
    }
)


def peak_rate(optim: BaseOptim, batch_size: int) -> float:
    """The highest learning rate: peak_lr, in proportion to the batch if lr_images.

    Reference: Goyal et al. 2017, arXiv:1706.02677, the linear scaling rule.
    """
    if optim.lr_images is None:
        return optim.peak_lr
    return optim.peak_lr * batch_size / optim.lr_images


def make_schedule(
    optim: BaseOptim, epochs: int, steps_per_epoch: int, batch_size: int
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


def sgd(optim: BaseOptim, schedule: Schedule) -> optax.GradientTransformation:
    """SGD as PyTorch's: decay joins the gradient, momentum sums, the rate scales.

    g ← g + decay·p;  m ← momentum·m + g;  p ← p - lr·m  (Nesterov: g + momentum·m).
    """
    return optax.chain(
        optax.add_decayed_weights(optim.weight_decay, decay_mask(optim.no_decay)),
        optax.sgd(schedule, optim.momentum or None, optim.nesterov),
    )


def lars(optim: BaseOptim, schedule: Schedule) -> optax.GradientTransformation:
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


def make_optimizer(
    optim: BaseOptim, schedule: Schedule
) -> optax.GradientTransformation:
    """The optimiser of the options, clipping the raw gradients first if asked."""
    optimizer = OPTIMIZERS[optim.optimizer](optim, schedule)
    if optim.clip_norm is None:
        return optimizer
    return optax.chain(optax.clip_by_global_norm(optim.clip_norm), optimizer)


def of_trainable(
    optimizer: optax.GradientTransformation, trainable: Callable[[Any], Any]
) -> optax.GradientTransformation:
    """The optimiser, which moves what is trained alone: decay does not shrink the rest.

    Args:
        optimizer: of all parameters.
        trainable: parameters -> True or False for each, or None for all.
    """

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        updates, state = optimizer.update(updates, state, params)
        trained = trainable(params)
        if trained is None:
            return updates, state
        kept = jax.tree.map(
            lambda trains, u: u if trains else jnp.zeros_like(u), trained, updates
        )
        return kept, state

    return optax.GradientTransformation(optimizer.init, update)
