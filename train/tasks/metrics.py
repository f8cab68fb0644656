"""Loss, top-1 and top-5, averaged over images."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from clu import metrics as clu_metrics
from clu import parameter_overview


def parameter_table(params: Any) -> str:
    """Name, shape, type and size of every parameter."""
    return parameter_overview.get_parameter_overview(params, include_stats=False)


def parameter_line(params: Any) -> str:
    """Trainable numbers of each module of the network."""
    sizes = {name: _size(tree) for name, tree in params.items()}
    return ", ".join(f"{name} {size:,}" for name, size in sizes.items())


def _size(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


Average = clu_metrics.Average


@flax.struct.dataclass
class Metrics(clu_metrics.Collection):
    """Averages that can be added up over batches and devices."""

    loss: Average.from_output("loss")  # pyright: ignore[reportInvalidTypeForm]
    top1: Average.from_output("top1")  # pyright: ignore[reportInvalidTypeForm]
    top5: Average.from_output("top5")  # pyright: ignore[reportInvalidTypeForm]


def cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: float = 0.0):
    """Softmax cross-entropy of each image.

    Args:
        logits: (b, k).
        labels: (b,) integers, or (b, k) shares of the classes that sum to 1.
        smoothing: s; a class whose share is t, 1 for the label and 0 for the others,
            has the target (1 - s) t + s/k.

    Returns:
        (b,) in at least float32.
    """
    core = jnp.promote_types(logits.dtype, jnp.float32)
    if labels.ndim == 1:
        labels = jax.nn.one_hot(labels, logits.shape[-1], dtype=core)
    targets = optax.smooth_labels(labels.astype(core), smoothing)
    return optax.softmax_cross_entropy(logits.astype(core), targets)


def is_among_top(logits: jax.Array, labels: jax.Array, k: int) -> jax.Array:
    """Whether fewer than k classes are ahead of the label; float32 (b,).

    Of equal logits the lower class is ahead, so that a constant network is right on
    one class only. NaN is never right.
    """
    own = jnp.take_along_axis(logits, labels[:, None], axis=-1)
    lower = jnp.arange(logits.shape[-1]) < labels[:, None]
    ahead = (logits > own) | ((logits == own) & lower)
    right = (ahead.sum(-1) < k) & jnp.isfinite(own[:, 0])
    return right.astype(jnp.float32)


def measure(losses, logits, labels, mask=None) -> Metrics:
    """The metrics of one batch; `mask` (b,) is 0 for images that only pad it."""
    return Metrics.single_from_model_output(
        loss=losses,
        top1=is_among_top(logits, labels, 1),
        top5=is_among_top(logits, labels, 5),
        mask=mask,
    )


def scalars(metrics: Metrics) -> dict[str, float]:
    """Plain numbers: the loss, and top-1 and top-5 in percent."""
    values = {name: float(value) for name, value in metrics.compute().items()}
    return {
        "loss": values["loss"],
        "top1": 100 * values["top1"],
        "top5": 100 * values["top5"],
    }
