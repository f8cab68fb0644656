"""Ground truth in fixed shapes, and which anchors or proposals answer for it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32

from prm_flax.detection.boxes import area
from prm_flax.detection.matching import Thresholds, ignore_crowds, match


class Targets(NamedTuple):
    """The ground truth of a batch, each image's padded to m boxes.

    Attributes:
        boxes: (b, m, 4) x1, y1, x2, y2 in pixels of the padded image.
        labels: (b, m) int32, 0 … K - 1.
        valid: (b, m) bool, which of them there are.
        crowd: (b, m) bool, which are crowds: never anyone's target.
    """

    boxes: Any
    labels: Any
    valid: Any
    crowd: Any

    @property
    def objects(self) -> jax.Array:
        """Which boxes are to be found: there, of some area, and no crowd. (b, m)."""
        return self.valid & ~self.crowd & (area(self.boxes) > 0)

    def of(self, matched: Int32[Array, "b n"]) -> tuple[jax.Array, jax.Array]:
        """The boxes (b, n, 4) and labels (b, n) of matches; any where there is none."""
        number = jnp.maximum(matched, 0)
        if not self.boxes.shape[1]:
            boxes = jnp.zeros((*matched.shape, 4), self.boxes.dtype)
            return boxes, jnp.zeros_like(matched)
        boxes = jnp.take_along_axis(self.boxes, number[..., None], axis=1)
        return boxes, jnp.take_along_axis(self.labels, number, axis=1)


def pad_targets(
    boxes: Sequence[Any],
    labels: Sequence[Any],
    places: int,
    crowd: Sequence[Any] | None = None,
) -> Targets:
    """Ground truth of some images, padded to one number of boxes; NumPy arrays.

    Args:
        boxes: of each image (n, 4) x1, y1, x2, y2; n may be 0.
        labels: of each image (n,), 0 … K - 1.
        places: m, at least the greatest n.
        crowd: of each image (n,) bool; None for no crowds.

    Raises:
        ValueError: more boxes than places, numbers that do not fit one another, or
            boxes that are not finite.

    Example:
        >>> truth = pad_targets([[[0, 0, 4, 4]], []], [[2], []], places=3)
        >>> truth.valid.tolist()
        [[True, False, False], [False, False, False]]
    """
    if crowd is None:
        crowd = [np.zeros(len(each), bool) for each in labels]
    result = Targets(
        np.zeros((len(boxes), places, 4), np.float32),
        np.zeros((len(boxes), places), np.int32),
        np.zeros((len(boxes), places), bool),
        np.zeros((len(boxes), places), bool),
    )
    for i, of_image in enumerate(zip(boxes, labels, crowd, strict=True)):
        own = np.asarray(of_image[0], float).reshape(-1, 4)
        n = len(own)
        _require_places(i, n, places, of_image, own)
        result.boxes[i, :n] = own
        result.labels[i, :n], result.crowd[i, :n] = of_image[1:]
        result.valid[i, :n] = True
    return result


def _require_places(
    i: int, n: int, places: int, of_image: Any, boxes: np.ndarray
) -> None:
    if n > places:
        raise ValueError(
            f"Every box needs a place: image {i} of the batch has {n}, places={places}."
        )
    if {len(each) for each in of_image[1:]} != {n}:
        raise ValueError(
            f"Image {i} of the batch must have one label and one crowd flag a box, got "
            f"{n} boxes, {len(of_image[1])} labels, {len(of_image[2])} crowd flags."
        )
    if not np.isfinite(boxes).all():
        raise ValueError(
            f"Boxes must be finite, image {i} of the batch has {boxes.tolist()}."
        )


def assign(
    targets: Targets,
    anchors: Float[Array, "b n 4"],
    usable: Any,
    rule: Thresholds,
    crowd_share: float | None,
) -> Int32[Array, "b n"]:
    """Which object each anchor answers for, see `matching.match`.

    Args:
        targets: of the images.
        anchors: of each image.
        usable: (b, n) bool.
        rule: the thresholds.
        crowd_share: background that a crowd covers to more than this is ignored; None
            leaves it background, as the references do.
    """

    def of_image(targets: Any, objects: Any, anchors: Any, usable: Any) -> jax.Array:
        boxes = targets.boxes.astype(anchors.dtype)
        if not len(boxes):
            boxes, objects = jnp.zeros((1, 4), anchors.dtype), jnp.zeros(1, bool)
        matched = match(boxes, objects, anchors, usable, rule)
        if crowd_share is None or not len(targets.boxes):
            return matched
        crowds = targets.valid & targets.crowd
        return ignore_crowds(matched, boxes, crowds, anchors, crowd_share)

    return jax.vmap(of_image)(targets, targets.objects, anchors, usable)
