"""`detection_loss`: what a detector is trained on, of a batch and its ground truth.

Every loss is a sum over an image's anchors or proposals. The sums of a batch are
divided by the sum of the images' divisors, such as max(1, positives): of the whole
global batch, however many devices it lies on, or of so many images as a device had in
the reference.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from prm_flax.detection.targets import Targets


class Summed(NamedTuple):
    """One loss, image by image.

    Attributes:
        sums: (b, levels), or (b, 1).
        divisors: (b,), each image's share of what the sums are divided by.
    """

    sums: jax.Array
    divisors: jax.Array


class Assignment(NamedTuple):
    """How anchors and proposals are chosen.

    Attributes:
        random: whether a fixed number is drawn; else all are kept.
        keys: (b,) of the images, to draw with.
        crowd_share: see `targets.assign`.
        proposals: (b, r, 4) in the place of the network's own, or None.
    """

    random: bool = False
    keys: Any = None
    crowd_share: float | None = None
    proposals: Any = None


SAMPLINGS = MappingProxyType({"random": True, "all": False})


def detection_loss(
    model: nn.Module,
    variables: Mapping[str, Any],
    images: jax.Array,
    sizes: jax.Array | None,
    targets: Targets,
    key: jax.Array | None,
    *,
    sampling: str = "random",
    proposals: jax.Array | None = None,
    crowd_share: float | None = None,
    weights: jax.Array | None = None,
    images_per_divisor: int | None = None,
    axis: str | None = None,
) -> tuple[jax.Array, dict[str, jax.Array], Any]:
    """A detector's loss.

    Args:
        model: of `create_detector`.
        variables: its "params" and "batch_stats".
        images: (b, h, w, c), padded to multiples of 32.
        sizes: (b, 2) int, their rows and columns before the padding; None for all.
        targets: their ground truth, see `pad_targets`.
        key: what is drawn is a function of it; one, or one for each image, so that an
            image's loss does not depend on its batch; None where nothing is drawn.
        sampling: "random" as in the paper; "all" keeps all positives and negatives.
            RetinaNet has no sampling.
        proposals: (b, r, 4) boxes that replace those of Cascade R-CNN's own proposal
            network.
        crowd_share: anchors that a crowd covers to more than this share are ignored;
            None: they are background, as in the references.
        weights: (b,) 0 for images that only fill the batch; None for all 1.
        images_per_divisor: every so many consecutive images are divided by their own
            positives, and the mean of these taken, as the reference does on each GPU;
            None: all of the global batch.
        axis: of a `pmap` or `shard_map` whose devices have a part of the batch each.
            The mean of the results over the axis is the loss of the whole.

    Returns:
        The total, each loss by name, and the batch statistics, which move only if the
        model's `norms` are "batch".

    Raises:
        ValueError: an unknown sampling, no key to draw with, or a number of images that
            the batch is not a multiple of.

    Example:
        >>> from prm_flax.detection import create_detector, pad_targets
        >>> model = create_detector("retinanet_resnet14", 3, stem="imagenet")
        >>> images = jnp.ones((1, 64, 64, 3))
        >>> variables = jax.jit(model.init)(jax.random.key(0), images)
        >>> truth = pad_targets([[[0, 0, 32, 32]]], [[1]], places=2)
        >>> total, losses, _ = detection_loss(
        ...     model, variables, images, None, truth, None
        ... )
        >>> sorted(losses)
        ['loss_bbox', 'loss_cls']
    """
    if sampling not in SAMPLINGS:
        raise ValueError(f"sampling must be one of {[*SAMPLINGS]}, got {sampling!r}.")
    keys = _keys(key, images.shape[0])
    targets = Targets(*map(jnp.asarray, targets))
    assignment = Assignment(SAMPLINGS[sampling], keys, crowd_share, proposals)
    found, new = model.apply(
        variables,
        images,
        sizes,
        targets,
        assignment,
        method="training_losses",
        mutable=["batch_stats"],
    )
    if weights is None:
        weights = jnp.ones(images.shape[0])
    summed: Any = found
    losses = {
        name: normalised(loss, weights, images_per_divisor, axis)
        for name, loss in summed.items()
    }
    total = sum(losses.values(), jnp.zeros(()))
    return total, losses, new.get("batch_stats", {})


def _keys(key: Any, count: Any) -> Any:
    if key is None:
        return None
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    return jax.random.split(key, count) if key.ndim == (0 if typed else 1) else key


def normalised(
    loss: Summed, weights: jax.Array, images: int | None, axis: str | None
) -> jax.Array:
    """The weighted sums over the sum of the weighted divisors, see `detection_loss`."""
    weights = weights.astype(loss.sums.dtype)
    sums, divisors = loss.sums.sum(1) * weights, loss.divisors * weights
    if images is None:
        total, divisor = sums.sum(), divisors.sum()
        if axis is not None:
            divisor = lax.pmean(divisor, axis)
        return total / jnp.maximum(divisor, _least(divisor))
    if len(sums) % images:
        raise ValueError(
            f"images_per_divisor={images} must divide the batch of {len(sums)} images."
        )
    sums, divisors = (x.reshape(-1, images).sum(1) for x in (sums, divisors))
    there = (divisors > 0).sum().astype(sums.dtype)
    if axis is not None:
        there = lax.pmean(there, axis)
    each = sums / jnp.maximum(divisors, _least(divisors))
    return each.sum() / jnp.maximum(there, _least(there))


def _least(x: jax.Array) -> Any:
    """So small that no divisor is smaller, but for 0."""
    return jnp.finfo(x.dtype).tiny
