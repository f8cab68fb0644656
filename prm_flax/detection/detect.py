"""`detect`: a detector's boxes on images, in fixed shapes."""

import functools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import export, lax
from jaxtyping import Array, Float, Int32

from prm_flax.detection.nms import best_of

NOTHING = -1  # the label of a place without a box


class Candidates(NamedTuple):
    """Boxes before the suppression, in pixels of the padded image.

    Attributes:
        boxes: (b, n, 4), clipped to the image.
        scores: (b, n).
        labels: (b, n) int32.
        valid: (b, n) bool.
    """

    boxes: jax.Array
    scores: jax.Array
    labels: jax.Array
    valid: jax.Array


class Detections(NamedTuple):
    """What is found on images, best first; b images, n = `keep` places each.

    Attributes:
        boxes: (b, n, 4) x1, y1, x2, y2 in pixels of the original images; 0 where there
            is none.
        scores: (b, n), 0 where there is none.
        labels: (b, n) int32, -1 where there is none.
        valid: (b, n) bool, in which places there is a box.
    """

    boxes: jax.Array
    scores: jax.Array
    labels: jax.Array
    valid: jax.Array


# So that programs that return it can be kept; who reads them imports this file first.
export.register_namedtuple_serialization(
    Detections, serialized_name="prm_flax.detection.Detections"
)


@functools.partial(jax.jit, static_argnames=("model", "score", "iou", "keep"))
def detect(
    model: nn.Module,
    variables: Mapping[str, Any],
    images: jax.Array,
    sizes: jax.Array | None,
    scale: jax.Array | None = None,
    *,
    score: float = 0.05,
    iou: float = 0.5,
    keep: int = 100,
) -> Detections:
    """The best boxes of each image after greedy suppression for each class.

    Args:
        model: of `create_detector`.
        variables: its "params" and "batch_stats".
        images: (b, h, w, c), padded to multiples of 32.
        sizes: (b, 2) int, their rows and columns before the padding; None for all.
        scale: by which the original images were enlarged, (b, 4) as w, h, w, h or
            (b, 2) as w, h; None for 1.
        score: boxes of at most this are left out.
        iou: boxes that a better one of the class overlaps by more are left out.
        keep: places an image.

    Returns:
        Boxes in pixels of the original images.

    Raises:
        ValueError: images, sizes or scale of another shape.

    Example:
        >>> from prm_flax.detection import create_detector
        >>> model = create_detector("retinanet_resnet14", 3, stem="imagenet")
        >>> images = jnp.ones((1, 64, 64, 3))
        >>> variables = jax.jit(model.init)(jax.random.key(0), images)
        >>> detect(model, variables, images, None, keep=10).boxes.shape
        (1, 10, 4)
    """
    if scale is not None and scale.shape not in {(images.shape[0], n) for n in (2, 4)}:
        raise ValueError(
            f"scale must be each image's enlargement, ({images.shape[0]}, 2) as w, h "
            f"or ({images.shape[0]}, 4) as w, h, w, h; got {scale.shape}."
        )
    found: Any = model.apply(variables, images, sizes, score, method="candidates")
    return suppress(found, scale, iou, keep)


def suppress(
    found: Candidates, scale: jax.Array | None, iou: float, keep: int
) -> Detections:
    """The best of the candidates, in pixels of the original images."""
    if scale is not None:
        factors = scale.astype(found.boxes.dtype)
        factors = jnp.tile(factors, (1, 4 // factors.shape[1]))
        found = found._replace(boxes=found.boxes / factors[:, None])

    def of_image(boxes, scores, labels, valid):
        places, there = best_of(boxes, scores, labels, valid, iou, keep)
        return Detections(
            jnp.where(there[:, None], boxes[places], 0),
            jnp.where(there, scores[places], 0),
            jnp.where(there, labels[places], NOTHING),
            there,
        )

    return jax.vmap(of_image)(*found)


def best_pairs(
    scores: Float[Array, "b n classes"], score: float, most: int
) -> tuple[Float[Array, "b m"], Int32[Array, "b m"], Int32[Array, "b m"]]:
    """The pairs of a box and a class of the highest scores.

    Args:
        scores: of boxes and classes.
        score: what does not exceed it has score 0 instead.
        most: how many, at most.

    Returns:
        Their scores, best first, their boxes' numbers, their classes.
    """
    b, n, classes = scores.shape
    flat = jnp.where(scores > score, scores, 0).reshape(b, n * classes)
    found, pairs = lax.top_k(flat, min(most, n * classes))
    return found, pairs // classes, pairs % classes


def classes_above(score: float, classes: int) -> int:
    """How many of a softmax's classes can exceed a score, at most.

    Example:
        >>> classes_above(0.05, 80)
        20
    """
    return classes if score <= 0 else min(classes, math.ceil(1 / score))
