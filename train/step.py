"""One update and one evaluation, as pure functions of state and batch."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from train.average import moved_average
from train.gradients import Found, in_parts, make_gradients
from train.guard import guarded
from train.mixup import Mix
from train.state import TrainState
from train.tasks.metrics import Metrics, cross_entropy, measure

Batch = dict[str, jax.Array]
TrainStep = Callable[[TrainState, Batch], TrainState]
EvalStep = Callable[[TrainState, Batch], Metrics]


def normalize(images: jax.Array | np.ndarray, mean, std) -> Any:
    """uint8 (b, h, w, c) to float32: (image / 255 - mean) / std."""
    mean, std = jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32)
    return (images.astype(jnp.float32) / 255 - mean) / std


def make_train_step(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    prepare: Callable[[jax.Array], jax.Array],
    *,
    label_smoothing: float = 0.0,
    seed: int = 0,
    accumulate: int = 1,
    shards: int = 1,
    ema: float = 0.0,
    mix: Mix | None = None,
    skip_bad_steps: int = 0,
):
    """Makes `step(state, batch, *, axis=None) -> state`, one update.

    Args:
        model: maps images to logits; to mix images it tells its `num_classes`.
        optimizer: of the parameters.
        prepare: the batch's images to what the model takes, on the device.
        label_smoothing: of the cross-entropy.
        seed: the streams of dropout and mixing are this seed folded with the step.
        accumulate: parts the batch is computed in, see `in_parts`.
        shards: devices that share the batch under jit.
        ema: decay of the averages of the state, which has some unless this is 0.
        mix: mixes the prepared images, see `make_mix`.
        skip_bad_steps: updates that may be left out, see `guarded`.

    Returns:
        The step. `batch` holds image (b, h, w, c) and label (b,). Under jit with the
        batch sharded it is already the step of the whole batch; under pmap `axis` names
        the mapped axis and one mean over it makes it so.
    """
    gradients_of = make_gradients(model, label_smoothing)
    examples_of = make_examples(model, prepare, seed, mix)
    update = partial(_updated, optimizer=optimizer, ema=ema)

    def step(state: TrainState, batch: Batch, *, axis: str | None = None) -> TrainState:
        split = shards if axis is None else 1
        examples, dropout = examples_of(state.step, batch, axis=axis, shards=split)
        if axis is not None:
            dropout = jax.random.fold_in(dropout, lax.axis_index(axis))
        whole = partial(gradients_of, loss_scale=state.loss_scale)
        found = in_parts(whole, accumulate, split)(state.variables, examples, dropout)
        if axis is not None:
            found = _mean_over(axis, found)
        return guarded(state, found, update, skip_bad_steps)

    return step


def make_examples(model: Any, prepare: Callable, seed: int, mix: Mix | None):
    """Makes `(step, batch, *, axis, shards) -> (examples, dropout key)` of a step.

    The arguments are those of `make_train_step`, the examples those of `make_loss`.
    """

    def examples_of(step, batch, *, axis: str | None = None, shards: int = 1):
        key = jax.random.fold_in(jax.random.key(seed), step)
        dropout, mixing = jax.random.split(key)
        images, targets = prepare(batch["image"]), batch["label"]
        if mix is not None:
            shares = jax.nn.one_hot(targets, model.num_classes, dtype=images.dtype)
            images, targets = mix(mixing, images, shares, axis=axis, shards=shards)
        examples = {"image": images, "label": batch["label"], "target": targets}
        return examples, dropout

    return examples_of


def _mean_over(axis: str, found: Found) -> Found:
    """One mean over the devices; it makes integers floats, so they are put back."""
    return _as(found, lax.pmean(found, axis))


def _as(like: Any, tree: Any) -> Any:
    """The tree in the dtypes of another."""
    return jax.tree.map(lambda a, own: a.astype(own.dtype), tree, like)


def _updated(state: Any, found: Found, *, optimizer, ema: float) -> TrainState:
    grads, stats, metrics = found
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    new = state.replace(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        batch_stats=stats,
        opt_state=opt_state,
        metrics=_as(state.metrics, state.metrics.merge(metrics)),
    )
    if state.loss_scale is not None:
        new = new.replace(loss_scale=state.loss_scale.after_update())
    if not ema:
        return new
    return new.replace(ema=moved_average(state.ema, new.variables, new.updates, ema))


def make_eval_step(model: nn.Module, prepare: Callable[[jax.Array], jax.Array]):
    """Makes `step(state, batch) -> Metrics`; the batch's mask leaves padding out."""
    logits_of = make_predict_step(model, prepare)

    def step(state: TrainState, batch: Batch) -> Metrics:
        logits = logits_of(state, batch["image"])
        losses = cross_entropy(logits, batch["label"])
        return measure(losses, logits, batch["label"], batch["mask"])

    return step


def make_predict_step(model: nn.Module, prepare: Callable[[jax.Array], jax.Array]):
    """Makes `step(state, images) -> logits`."""

    def step(state: TrainState, images: jax.Array) -> Any:
        return model.apply(state.variables, prepare(images), train=False)

    return step
