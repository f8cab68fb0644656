"""An update of numbers that are not finite is not made."""

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from train.checkpoints.leaves import dotted
from train.findings import listed
from train.state import TrainState


def guarded(
    state: TrainState,
    found: Any,
    update: Callable[[TrainState, Any], TrainState],
    skip_bad_steps: int,
) -> TrainState:
    """The state after an update, if all that the update is made from is finite.

    One that is not leaves every array of the state as it was and

    * the first `skip_bad_steps` of a run: counts as a step, so that the next batch is
      another one, and in `skipped`;
    * the next: is written to `bad_step`, after which nothing changes any more.

    Nothing here waits for the devices: whoever looks at the state, steps later, finds
    the one before the bad update. (Finite gradients can still make a parameter that is
    not, by a rate beyond all measure: `check_finite` before a state is saved.)

    If gradients alone are not finite and the loss was scaled by more than 1, the scale
    may be too large: that step halves it, and counts as a step and in `overflows`.

    Args:
        state: before the update.
        found: gradients, running statistics and metrics of the whole batch: under pmap
            after the mean over the devices, so that all of them decide alike.
        update: `(state, found) -> state`.
        skip_bad_steps: K.
    """
    guard = functools.partial(_guarded, update, skip_bad_steps)
    if state.loss_scale is None:
        return guard(state, found)
    return lax.cond(_overflown(state, found), _scaled_down, guard, state, found)


def _guarded(
    update: Callable, skip_bad_steps: int, state: TrainState, found: Any
) -> TrainState:
    sound = (state.bad_step == 0) & finite(found)
    leave_out = functools.partial(_left_out, skip_bad_steps)
    # Not a jnp.where of the old state and the new: on the CPU it doubled the update's
    # traffic, needed the memory of another set of parameters and compiled for a minute.
    return lax.cond(sound, update, leave_out, state, found)


def _left_out(skip_bad_steps: int, state: TrainState, found: Any) -> TrainState:
    del found
    going = state.bad_step == 0
    skipping = going & (state.skipped < skip_bad_steps)
    return state.replace(  # pyright: ignore[reportAttributeAccessIssue]
        step=state.step + skipping.astype(jnp.int32),
        skipped=state.skipped + skipping.astype(jnp.int32),
        bad_step=jnp.where(going & ~skipping, state.step + 1, state.bad_step),
    )


def _overflown(state: Any, found: Any) -> jax.Array:
    """Whether nothing but the gradients is not finite, at a scale that can be less."""
    gradients, *rest = found
    reducible = (state.bad_step == 0) & (state.loss_scale.value > 1)
    return reducible & ~finite(gradients) & finite(rest)


def _scaled_down(state: Any, found: Any) -> TrainState:
    del found
    scale = state.loss_scale.after_overflow()
    return state.replace(step=state.step + 1, loss_scale=scale)


def finite(tree: Any) -> jax.Array:
    """() bool: whether no floating number of a tree is NaN or infinite."""
    leaves = [
        jnp.isfinite(leaf).all()
        for leaf in jax.tree.leaves(tree)
        if jnp.issubdtype(leaf.dtype, jnp.inexact)
    ]
    return functools.reduce(operator.and_, leaves, jnp.array(True))


_finite = jax.jit(finite)


def check_finite(state: TrainState) -> None:
    """Raises FloatingPointError that names the arrays that are not finite, if any."""
    if _finite(state):
        return
    leaves = jax.tree_util.tree_flatten_with_path(state)[0]
    bad = [dotted(path) for path, leaf in leaves if not _finite(leaf)]
    raise FloatingPointError(
        f"the state after step {int(state.step)} is not finite, so it is not saved: "
        f"{listed(bad)}. What is saved is intact. Lower optim.peak_lr or lengthen "
        "optim.warmup_epochs, with a new --workdir."
    )
