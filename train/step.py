"""One update and one evaluation, as pure functions of state and batch."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from train.metrics import Metrics, cross_entropy, measure
from train.state import TrainState

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
):
    """Makes `step(state, batch, *, axis=None) -> state`, one update.

    Args:
        model: maps images to logits.
        optimizer: of the parameters.
        prepare: the batch's images to what the model takes, on the device.
        label_smoothing: of the cross-entropy.
        seed: dropout's stream is this seed folded with the step.

    Returns:
        The step. `batch` holds image (b, h, w, c) and label (b,). Under jit with the
        batch sharded it is already the step of the whole batch; under pmap `axis` names
        the mapped axis and one mean over it makes it so.
    """

    def step(state: TrainState, batch: Batch, *, axis: str | None = None) -> TrainState:
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        if axis is not None:
            key = jax.random.fold_in(key, lax.axis_index(axis))

        def loss_of(params):
            applied: Any = model.apply(
                {"params": params, "batch_stats": state.batch_stats},
                prepare(batch["image"]),
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": key},
            )
            logits, new = applied
            losses = cross_entropy(logits, batch["label"], label_smoothing)
            metrics = measure(losses, logits, batch["label"])
            return losses.mean(), (new.get("batch_stats", {}), metrics)

        grads, (batch_stats, metrics) = jax.grad(loss_of, has_aux=True)(state.params)
        if axis is not None:
            grads, batch_stats, metrics = lax.pmean((grads, batch_stats, metrics), axis)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        return TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
            metrics=state.metrics.merge(metrics),
        )

    return step


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
