"""The gradients of a batch, whole or in parts: the same update in less memory."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from train.loss_scale import LossScale
from train.tasks.metrics import Metrics, cross_entropy, measure

Examples = dict[str, jax.Array]
Found = tuple[Any, Any, Metrics]  # gradients, batch_stats, metrics
Gradients = Callable[[dict[str, Any], Examples, jax.Array], Found]


def make_loss(model: nn.Module, label_smoothing: float):
    """Makes `(params, batch_stats, examples, key) -> (mean loss, aux)`, for training.

    aux is each image's loss (b,), what the call changed (batch_stats among it) and the
    metrics. The examples hold image (b, h, w, c), label (b,), which the metrics count,
    and target, labels or shares of the classes (b, k), for the loss. Options are those
    of `model.apply`.
    """

    def loss_of(params, batch_stats, examples, key, **options):
        wanted: dict[str, Any] = {"mutable": ["batch_stats"]} | options
        applied: Any = model.apply(
            {"params": params, "batch_stats": batch_stats},
            examples["image"],
            train=True,
            rngs={"dropout": key},
            **wanted,
        )
        logits, new = applied
        losses = cross_entropy(logits, examples["target"], label_smoothing)
        metrics = measure(losses, logits, examples["label"])
        return losses.mean(), (losses, new, metrics)

    return loss_of


def make_gradients(model: nn.Module, label_smoothing: float) -> Callable[..., Found]:
    """Makes `(variables, examples, dropout key) -> (gradients, batch_stats, metrics)`.

    The examples are those of `make_loss`. With a `loss_scale` the gradients are those
    of the scaled loss, divided by the scale: the same, but for what float16 rounds to 0
    or to infinity.
    """
    loss_of = make_loss(model, label_smoothing)

    def gradients_of(variables, examples, key, loss_scale: LossScale | None = None):
        function = loss_of if loss_scale is None else loss_scale.scaled(loss_of)
        grads, (_, new, metrics) = jax.grad(function, has_aux=True)(
            variables["params"], variables["batch_stats"], examples, key
        )
        if loss_scale is not None:
            grads = loss_scale.unscaled(grads)
        return grads, new.get("batch_stats", {}), metrics

    return gradients_of


def in_parts(gradients_of: Gradients, parts: int, shards: int) -> Gradients:
    """Makes a `gradients_of` that goes through its examples in parts.

    Gradients are those of the mean loss, and running statistics follow as
    `momentum · old + (1 - momentum) · new`. So when every part starts from the same old
    ones, and batch norm's runs of n images are whole, the means over the parts are the
    undivided batch's.

    Args:
        gradients_of: `(variables, examples, dropout key) -> (gradients, batch_stats,
            metrics)`.
        parts: k; with 1 the function is handed back as it is.
        shards: devices that share the examples.

    Returns:
        The function. Its examples (b, …) must be a multiple of k · shards, and
        b / (k · shards) one of n; every part drops other units. Under jit the compiler
        may add gradients up over the devices after every part, under pmap it cannot.
    """
    if parts == 1:
        return gradients_of

    def gradients_in_parts(variables, examples, key):
        def add(sums, part):
            number, examples = part
            part_key = jax.random.fold_in(key, number)
            grads, stats, metrics = gradients_of(variables, examples, part_key)
            return jax.tree.map(jnp.add, sums, (grads, stats)), metrics

        none = jax.tree.map(
            jnp.zeros_like, (variables["params"], variables["batch_stats"])
        )
        slices = {
            name: part_slices(array, parts, shards) for name, array in examples.items()
        }
        sums, metrics = lax.scan(add, none, (jnp.arange(parts), slices))
        grads, stats = jax.tree.map(lambda total: total / parts, sums)
        return grads, stats, metrics.reduce()

    return gradients_in_parts


def part_slices(array: jax.Array, parts: int, shards: int) -> jax.Array:
    """(b, …) -> (k, b/k, …): part j is the j-th slice of every device's share.

    A device's share is b / shards consecutive images, so none moves to another.

    Raises:
        ValueError: a share does not divide into the parts.
    """
    if array.shape[0] % (parts * shards):
        raise ValueError(
            f"A batch must be a multiple of parts · devices to be accumulated: "
            f"{array.shape[0]} images, {parts} parts, {shards} devices. Change "
            "batch_size or optim.accumulate."
        )
    shares = array.reshape(shards, parts, -1, *array.shape[1:])
    return shares.swapaxes(0, 1).reshape(parts, -1, *array.shape[1:])
