"""Greedy suppression of overlapping boxes, exactly, with fixed shapes.

In the order of scores a box is kept if no box kept before overlaps it by more than a
threshold. Classes are compared, boxes are not shifted apart: in float32 the shift of
the references moves an overlap by up to 4.6e-3.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Int32

from prm_flax.detection.boxes import iou


def nms(
    boxes: Float[Array, "n 4"],
    scores: Float[Array, "*n"],
    valid: Bool[Array, "*n"],
    threshold: float,
    classes: Int[Array, "*n"] | None = None,
) -> Bool[Array, "*n"]:
    """Which boxes greedy suppression keeps.

    A fixed point: a box is kept if no kept box of a higher score overlaps it. Repeated
    from all boxes kept, the first k of a chain of overlaps are right after k rounds; a
    thousand boxes take three to nine rounds as a rule, and as many as there are boxes
    at most. Of equal scores the first is the higher.

    Args:
        boxes: x1, y1, x2, y2.
        scores: any floating numbers.
        valid: which boxes there are.
        threshold: more overlap than this suppresses.
        classes: boxes of different classes do not suppress one another; None for one.

    Returns:
        (n,) bool.

    Example:
        >>> boxes = jnp.array([[0.0, 0, 4, 4], [0, 0, 4, 3], [5, 5, 6, 6]])
        >>> there = jnp.ones(3, bool)
        >>> nms(boxes, jnp.array([0.9, 0.8, 0.7]), there, 0.5).tolist()
        [True, False, True]
    """
    order = jnp.argsort(jnp.where(valid, -scores, jnp.inf), stable=True)
    boxes, there = boxes[order], valid[order]
    higher = jnp.tri(len(boxes), k=-1, dtype=bool).T  # [i, j]: i before j
    suppresses = (iou(boxes, boxes) > threshold) & higher & there[:, None]
    if classes is not None:
        ranked = classes[order]
        suppresses &= ranked[:, None] == ranked[None]

    def improve(state):
        kept, _ = state
        new = there & ~jnp.any(suppresses & kept[:, None], axis=0)
        return new, jnp.any(new != kept)

    kept, _ = lax.while_loop(lambda state: state[1], improve, (there, there.any()))
    return jnp.zeros_like(kept).at[order].set(kept)


def best_of(
    boxes: Float[Array, "n 4"],
    scores: Float[Array, "*n"],
    classes: Int[Array, "*n"],
    valid: Bool[Array, "*n"],
    threshold: float,
    keep: int,
) -> tuple[Int32[Array, "*keep"], Bool[Array, "*keep"]]:
    """The boxes of the highest scores that greedy suppression keeps, in order.

    As `nms` for each class, but only so many rounds of "take the highest, leave out
    what it suppresses": no overlaps of all with all.

    Args:
        boxes: x1, y1, x2, y2.
        scores: any floating numbers.
        classes: boxes of different classes do not suppress one another.
        valid: which boxes there are.
        threshold: more overlap than this suppresses.
        keep: how many, at most.

    Returns:
        The places of those kept, and which of these there are.
    """
    left = jnp.where(valid, scores, -jnp.inf)

    def take(left, _):
        place = jnp.argmax(left).astype(jnp.int32)
        found = left[place] > -jnp.inf
        overlaps = iou(boxes[place][None], boxes)[0] > threshold
        gone = overlaps & (classes == classes[place])
        gone |= jnp.arange(len(left)) == place  # also a box of no area
        return jnp.where(gone, -jnp.inf, left), (place, found)

    _, (places, found) = jax.lax.scan(take, left, length=keep)
    return places, found
