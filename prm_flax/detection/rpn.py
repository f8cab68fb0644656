"""The region proposal network: where there is something, whatever it is.

A 3×3 convolution shared by all levels, and for each anchor one sigmoid and four deltas.
What it proposes are its best boxes after suppression within each level.

Reference: Ren et al., NeurIPS 2015, on a pyramid (Lin et al., CVPR 2017, section 4.1).
Names: mmdetection's.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from prm_flax.detection import anchors, matching, sampling
from prm_flax.detection.boxes import clip, decode, encode
from prm_flax.detection.convolution import Convolutions
from prm_flax.detection.dense import DenseOutputs
from prm_flax.detection.fpn import CHANNELS
from prm_flax.detection.losses import binary_cross_entropy, smooth_l1
from prm_flax.detection.nms import nms
from prm_flax.detection.objective import Assignment, Summed
from prm_flax.detection.targets import Targets, assign
from prm_flax.layers.basic import relu

BETA = 1 / 9  # of smooth L1
OVERLAP = 0.7  # more of it suppresses a proposal


class RPNHead(nn.Module):
    """Objectness and deltas, for one level at a time.

    Attributes:
        convolutions: builds the layers.
        channels: of the shared layer.
    """

    convolutions: Convolutions
    channels: int = CHANNELS

    def setup(self):
        """The same layers for all levels."""
        conv, count = self.convolutions.conv, anchors.RPN.per_position
        self.rpn_conv = conv(self.channels, 3, None)
        self.rpn_cls = conv(count, 1, None)
        self.rpn_reg = conv(count * 4, 1, None)

    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """A level (b, h, w, c) -> logits (b, h, w, 3, 1), deltas (b, h, w, 3, 4)."""
        # Not the layer `ReLU`: the paper's counter did not see this one.
        shared = relu(self.rpn_conv(x))
        shape = *x.shape[:3], anchors.RPN.per_position, -1
        return self.rpn_cls(shared).reshape(shape), self.rpn_reg(shared).reshape(shape)


class Proposals(NamedTuple):
    """Boxes in which there may be an object, best first.

    Attributes:
        boxes: (b, n, 4) in pixels of the padded image.
        scores: (b, n).
        valid: (b, n) bool, in which places there is a box.
    """

    boxes: jax.Array
    scores: jax.Array
    valid: jax.Array


def proposals(
    outputs: DenseOutputs,
    strides: tuple[int, ...],
    extents: tuple[Any, ...],
    sizes: jax.Array,
    best: int,
    keep: int,
) -> Proposals:
    """The best boxes of each level, those of all levels that its suppression keeps.

    Args:
        outputs: of the head.
        strides: of the levels.
        extents: of the levels, or Nones.
        sizes: (b, 2) of the images, floating, to which boxes are clipped.
        best: boxes of a level before the suppression, at most.
        keep: boxes after it, at most.
    """
    by_level = outputs.anchors(anchors.RPN, strides), outputs.usable(extents)
    in_turn = zip(outputs.logits, outputs.deltas, *by_level, strict=True)
    levels = [
        _best_of_level(logits, deltas, own, usable, sizes, best)
        for logits, deltas, own, usable in in_turn
    ]
    widest = max(level.scores.shape[1] for level in levels)
    padded = [_padded(level, widest) for level in levels]
    boxes, scores, valid = (jnp.stack(x, axis=1) for x in zip(*padded, strict=True))
    suppress = jax.vmap(jax.vmap(nms, (0, 0, 0, None)), (0, 0, 0, None))
    kept = suppress(boxes, scores, valid, OVERLAP)
    b = boxes.shape[0]
    ranked = jnp.where(kept, scores, -1).reshape(b, -1)
    found, places = lax.top_k(ranked, min(keep, ranked.shape[1]))
    boxes = jnp.take_along_axis(boxes.reshape(b, -1, 4), places[..., None], axis=1)
    there = found >= 0
    return Proposals(
        jnp.where(there[..., None], boxes, 0), jnp.where(there, found, 0), there
    )


def _best_of_level(logits, deltas, own, usable, sizes, best: int) -> Proposals:
    shape = usable.shape
    scores = jax.nn.sigmoid(logits.astype(own.dtype)).reshape(shape)
    ranked = jnp.where(usable, scores, -1)
    scores, places = lax.top_k(ranked, min(best, shape[1]))
    deltas = deltas.astype(own.dtype).reshape(*shape, 4)
    deltas = jnp.take_along_axis(deltas, places[..., None], axis=1)
    boxes = clip(decode(own[places], deltas), sizes)
    there = (scores >= 0) & (boxes[..., :2] < boxes[..., 2:]).all(-1)
    return Proposals(boxes, scores, there)


def _padded(level: Proposals, n: int) -> Proposals:
    more = n - level.scores.shape[1]
    return Proposals(
        jnp.pad(level.boxes, ((0, 0), (0, more), (0, 0))),
        jnp.pad(level.scores, ((0, 0), (0, more))),
        jnp.pad(level.valid, ((0, 0), (0, more))),
    )


def assigned(
    outputs: DenseOutputs,
    strides: tuple[int, ...],
    extents: tuple[Any, ...],
    sizes: jax.Array,
    targets: Targets,
    crowd_share: float | None = None,
) -> tuple[jax.Array, jax.Array]:
    """All anchors (b, n, 4), and the object (b, n) that each answers for.

    Those that reach out of their image take no part.

    Args:
        outputs: of the head.
        strides: of the levels.
        extents: of the levels, or Nones.
        sizes: (b, 2) of the images, floating.
        targets: of the images.
        crowd_share: see `targets.assign`.
    """
    own, usable = outputs.anchored(anchors.RPN, strides, extents)
    within = (own[..., :2] >= 0) & (own[..., 2:] < sizes[:, None, ::-1])
    usable &= within.all(-1)
    return own, assign(targets, own, usable, matching.RPN, crowd_share)


def losses(
    outputs: DenseOutputs,
    strides: tuple[int, ...],
    extents: tuple[Any, ...],
    sizes: jax.Array,
    targets: Targets,
    assignment: Assignment,
) -> dict[str, Summed]:
    """Entropy of all anchors drawn, smooth L1 of the positives, by image and level.

    Anchors take part that lie within the image. Both losses are divided by the anchors
    drawn, of each image at least one positive and one negative.

    Args:
        outputs: of the head.
        strides: of the levels.
        extents: of the levels, or Nones.
        sizes: (b, 2) of the images, floating.
        targets: of the images.
        assignment: with keys, 256 anchors an image are drawn, at most half positive.

    Reference: Ren et al., NeurIPS 2015, section 3.1.2 and 3.1.3.
    """
    own, matched = assigned(
        outputs, strides, extents, sizes, targets, assignment.crowd_share
    )
    positive, negative = matched >= 0, matched == matching.BACKGROUND
    if assignment.random:
        draw = jax.vmap(sampling.sample, (0, 0, 0, None, None))
        numbers = outputs.numbers()
        drawn = draw(assignment.keys, positive, negative, sampling.RPN, numbers)
        positive, negative = positive & drawn, negative & drawn
    boxes, _ = targets.of(matched)
    wanted = encode(own, boxes.astype(own.dtype))
    of_levels = map(outputs.of_levels, (positive, negative, wanted))
    levels = zip(outputs.logits, outputs.deltas, *of_levels, strict=True)
    sums = [_of_level(*level) for level in levels]
    by_class, by_box = (jnp.stack(each, axis=1) for each in zip(*sums, strict=True))
    drawn = jnp.stack([positive.sum(1), negative.sum(1)])
    divisor = jnp.maximum(drawn, 1).sum(0).astype(own.dtype)
    return {
        "loss_rpn_cls": Summed(by_class, divisor),
        "loss_rpn_bbox": Summed(by_box, divisor),
    }


def _of_level(logits, deltas, positive, negative, wanted):
    """Sums (b,) of one level."""
    dtype = wanted.dtype
    by_class = binary_cross_entropy(logits[..., 0].astype(dtype), positive)
    by_class = jnp.where(positive | negative, by_class, 0)
    apart = jnp.where(positive[..., None], deltas.astype(dtype) - wanted, 0)
    by_box = smooth_l1(apart, BETA)
    return by_class.sum((1, 2, 3)), by_box.sum((1, 2, 3, 4))
