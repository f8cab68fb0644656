"""Which anchor, or proposal, answers for which box.

Overlaps are (boxes, anchors), see `boxes`. Places without a box never match.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from prm_flax.detection.boxes import covered, iou

# What a match is if not the number of a box.
UNUSED, IGNORED, BACKGROUND = -3, -2, -1


class Thresholds(NamedTuple):
    """The rule of an assignment.

    Attributes:
        positive: least overlap of an anchor with its box.
        negative: below it an anchor is background; between the two it is ignored.
        low_quality: the least overlap of a box's best anchors, which it gets whatever
            else they were to be; None for no such rule.
    """

    positive: float
    negative: float
    low_quality: float | None = None


RETINANET = Thresholds(0.5, 0.4, 0.0)
RPN = Thresholds(0.7, 0.3, 0.3)


def match(
    boxes: Float[Array, "m 4"],
    valid: Bool[Array, "*m"],
    anchors: Float[Array, "n 4"],
    usable: Bool[Array, "*n"],
    rule: Thresholds,
) -> Int32[Array, "*n"]:
    """Each anchor's box by greatest overlap, the first on a tie.

    With the rule on low quality, each box in turn takes all anchors of its greatest
    overlap if that is at least the rule's least, and more than 0: with "at least 0" a
    box that meets no anchor would take all there are.

    Args:
        boxes: ground truth, padded.
        valid: which of them there are.
        anchors: of the image.
        usable: which of them take part.
        rule: the thresholds.

    Returns:
        (n,) int32: the number of a box, or `BACKGROUND`, `IGNORED` or `UNUSED`.

    Example:
        >>> box = jnp.array([[0.0, 0.0, 4.0, 4.0]])
        >>> anchors = jnp.array([[0.0, 0.0, 4.0, 3.0], [8.0, 8.0, 9.0, 9.0]])
        >>> all_ = jnp.ones(2, bool)
        >>> match(box, all_[:1], anchors, all_, RETINANET).tolist()
        [0, -1]

    Reference: Ren et al., NeurIPS 2015, section 3.1.2.
    """
    overlaps = jnp.where(valid[:, None] & usable[None], iou(boxes, anchors), -1.0)
    best = overlaps.max(0)
    found = jnp.argmax(overlaps, axis=0).astype(jnp.int32)
    result = jnp.where(best < rule.negative, BACKGROUND, IGNORED)
    result = jnp.where(best >= rule.positive, found, result)
    if rule.low_quality is not None:
        of_box = overlaps.max(1, keepdims=True)
        enough = (of_box > 0) & (of_box >= rule.low_quality)
        taken = (overlaps == of_box) & enough
        number = jnp.arange(len(boxes), dtype=jnp.int32)[:, None]
        last = jnp.where(taken, number, -1).max(0)
        result = jnp.where(last >= 0, last, result)
    return jnp.where(usable, result, UNUSED).astype(jnp.int32)


def ignore_crowds(
    matched: Int32[Array, "*n"],
    crowds: Float[Array, "m 4"],
    is_crowd: Bool[Array, "*m"],
    anchors: Float[Array, "n 4"],
    share: float,
) -> Int32[Array, "*n"]:
    """Background that a crowd covers to more than a share is ignored instead."""
    inside = jnp.where(is_crowd[:, None], covered(crowds, anchors), 0).max(0)
    return jnp.where((matched == BACKGROUND) & (inside > share), IGNORED, matched)
