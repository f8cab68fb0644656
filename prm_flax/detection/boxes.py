"""Boxes x1, y1, x2, y2 in pixels: overlaps, and deltas from one box to another.

A box's width is x2 - x1, without the +1 of older programs. Overlaps are laid out as
(boxes, anchors): a TPU then has the many anchors on its lanes, and never stores them.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# The largest ratio of sides that deltas can ask for: 1000/16, as the references clip.
LARGEST_RATIO = math.log(1000 / 16)

Stds = tuple[float, float, float, float]
UNIT: Stds = (1.0, 1.0, 1.0, 1.0)


def area(boxes: Float[Array, "*b 4"]) -> Float[Array, "*b"]:
    """Width times height, 0 where a side is negative."""
    width, height = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    return jnp.maximum(width, 0) * jnp.maximum(height, 0)


def intersection(
    a: Float[Array, "*b m 4"], b: Float[Array, "*b n 4"]
) -> Float[Array, "*b m n"]:
    """The area that each of m boxes shares with each of n."""

    def shared(low: int, high: int) -> Array:
        start = jnp.maximum(a[..., :, None, low], b[..., None, :, low])
        end = jnp.minimum(a[..., :, None, high], b[..., None, :, high])
        return jnp.maximum(end - start, 0)

    return shared(0, 2) * shared(1, 3)


def iou(a: Float[Array, "*b m 4"], b: Float[Array, "*b n 4"]) -> Float[Array, "*b m n"]:
    """Intersection over union; 0 where both boxes are empty.

    Args:
        a: (..., m, 4), such as ground truth.
        b: (..., n, 4), such as anchors.

    Returns:
        (..., m, n) in [0, 1].

    Example:
        >>> a = jnp.array([[0.0, 0.0, 2.0, 2.0]])
        >>> iou(a, jnp.array([[1.0, 0.0, 3.0, 2.0]])).tolist()
        [[0.3333333432674408]]
    """
    shared = intersection(a, b)
    union = area(a)[..., :, None] + area(b)[..., None, :] - shared
    return jnp.where(union > 0, shared / jnp.where(union > 0, union, 1), 0)


def covered(
    crowds: Float[Array, "*b m 4"], boxes: Float[Array, "*b n 4"]
) -> Float[Array, "*b m n"]:
    """Which share of each of n boxes each of m crowds covers; 0 of an empty box."""
    whole = area(boxes)[..., None, :]
    return intersection(crowds, boxes) / jnp.where(whole > 0, whole, 1)


def encode(
    boxes: Float[Array, "*b 4"], targets: Float[Array, "*b 4"], stds: Stds = UNIT
) -> Float[Array, "*b 4"]:
    """The deltas that move boxes to their targets.

        dx = (gx - px) / pw,  dw = log(gw / pw),  y and h alike; each over its std

    (px, py) is a box's centre, (pw, ph) its sides, g the target's. Sides of no length
    count as the smallest positive number, so that all is finite.

    Example:
        >>> box = jnp.array([0.0, 0.0, 4.0, 4.0])
        >>> encode(box, jnp.array([1.0, 0.0, 5.0, 4.0])).tolist()
        [0.25, 0.0, 0.0, 0.0]

    Reference: Girshick et al., CVPR 2014, appendix C.
    """
    centre, sides = _centre_and_sides(boxes)
    to_centre, to_sides = _centre_and_sides(targets)
    tiny = jnp.finfo(boxes.dtype).tiny
    sides, to_sides = jnp.maximum(sides, tiny), jnp.maximum(to_sides, tiny)
    moves = (to_centre - centre) / sides
    scales = jnp.log(to_sides) - jnp.log(sides)
    deltas = jnp.concatenate([moves, scales], axis=-1)
    return deltas / _of(stds, deltas)


def decode(
    boxes: Float[Array, "*b 4"], deltas: Float[Array, "*b 4"], stds: Stds = UNIT
) -> Float[Array, "*b 4"]:
    """The boxes that deltas move boxes to; dw and dh within ±log(1000/16).

    Example:
        >>> box = jnp.array([0.0, 0.0, 4.0, 4.0])
        >>> decode(box, jnp.array([0.25, 0.0, 0.0, 0.0])).tolist()
        [1.0, 0.0, 5.0, 4.0]
    """
    deltas = deltas * _of(stds, deltas)
    centre, sides = _centre_and_sides(boxes)
    scales = jnp.clip(deltas[..., 2:], -LARGEST_RATIO, LARGEST_RATIO)
    centre = centre + sides * deltas[..., :2]
    half = sides * jnp.exp(scales) / 2
    return jnp.concatenate([centre - half, centre + half], axis=-1)


def clip(
    boxes: Float[Array, "*b n 4"], sizes: Float[Array, "*b 2"]
) -> Float[Array, "*b n 4"]:
    """Boxes within their image: x in [0, w], y in [0, h].

    Args:
        boxes: (..., n, 4).
        sizes: (..., 2) rows and columns of the image, h and w, in the boxes' dtype.
    """
    largest = jnp.concatenate([sizes[..., ::-1]] * 2, axis=-1)[..., None, :]
    return jnp.clip(boxes, 0, largest)


def _centre_and_sides(boxes: Array) -> tuple[Array, Array]:
    low, high = boxes[..., :2], boxes[..., 2:]
    return (low + high) / 2, high - low


def _of(stds: Stds, deltas: Array) -> jax.Array:
    shape = (1,) * (deltas.ndim - 1) + (4,)
    return jnp.asarray(stds, deltas.dtype).reshape(shape)
