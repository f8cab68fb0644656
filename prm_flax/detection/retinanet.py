"""RetinaNet: one dense detector on a pyramid, trained with the focal loss.

Two towers of four 3×3 convolutions, shared by all levels, and at every position a
sigmoid for each anchor and class, and four deltas for each anchor. The backbone's stem
and first stage are frozen, its norms use their running statistics.

Reference: Lin et al., ICCV 2017. Names: mmdetection's.
"""

import math
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from prm_flax.detection import anchors, matching
from prm_flax.detection.boxes import clip, decode, encode
from prm_flax.detection.convolution import ConvModule, Convolutions, xavier
from prm_flax.detection.dense import DenseOutputs
from prm_flax.detection.detect import Candidates, best_pairs
from prm_flax.detection.fpn import CHANNELS, FPN
from prm_flax.detection.levels import (
    Norms,
    enter,
    extents_of,
    features,
    last_stages,
    own_sizes,
)
from prm_flax.detection.losses import focal, smooth_l1
from prm_flax.detection.objective import Assignment, Summed
from prm_flax.detection.targets import Targets, assign

# Probability of every class at the start.
PRIOR = 0.01
DEPTH = 4
BETA = 0.11  # of smooth L1
# Pairs of an anchor and a class that a level hands to the suppression.
BEST = 1000


class RetinaHead(nn.Module):
    """The two towers, for one level at a time.

    Attributes:
        num_classes: K.
        convolutions: builds the layers.
        channels: of the towers.
        depth: convolutions of a tower.
    """

    num_classes: int
    convolutions: Convolutions
    channels: int = CHANNELS
    depth: int = DEPTH

    def setup(self):
        """The same layers for all levels."""
        conv, count = self.convolutions.conv, anchors.RETINANET.per_position
        prior = nn.initializers.constant(-math.log((1 - PRIOR) / PRIOR))
        self.cls_convs = self._tower()
        self.reg_convs = self._tower()
        self.retina_cls = conv(count * self.num_classes, 3, None, bias_init=prior)
        self.retina_reg = conv(count * 4, 3, None)

    def __call__(self, x: jax.Array, extent: Any) -> tuple[jax.Array, jax.Array]:
        """A level (b, h, w, c) -> logits (b, h, w, 9, K), deltas (b, h, w, 9, 4)."""
        by_class = by_box = x
        for conv in self.cls_convs:
            by_class = conv(by_class, extent)
        for conv in self.reg_convs:
            by_box = conv(by_box, extent)
        shape = *x.shape[:3], anchors.RETINANET.per_position, -1
        logits, deltas = self.retina_cls(by_class), self.retina_reg(by_box)
        return logits.reshape(shape), deltas.reshape(shape)

    def _tower(self) -> list[ConvModule]:
        make = self.convolutions
        layers = range(self.depth)
        return [ConvModule(make, self.channels, 3, relu=True) for _ in layers]


class RetinaNet(nn.Module):
    """RetinaNet on any network of the zoo; `create_detector` builds it by name.

    Attributes:
        backbone: gives its stages' features, with its first stage frozen.
        num_classes: K.
        dtype: of the computation, None for the input's and parameters' common one.
        param_dtype: of the parameters.
        norms: statistics of the backbone's batch norms in training: "running", theirs,
            or "batch", which moves those, for a backbone that starts from nothing.
        channels: of the pyramid and the towers.
        depth: convolutions of a tower.
    """

    backbone: nn.Module
    num_classes: int = 80
    dtype: Any = None
    param_dtype: Any = jnp.float32
    norms: Norms = "running"
    channels: int = CHANNELS
    depth: int = DEPTH

    loss_names: ClassVar[tuple[str, ...]] = ("loss_cls", "loss_bbox")

    @property
    def stages(self) -> tuple[tuple[str, int, int], ...]:
        """The backbone's that the pyramid is over: the last three of new strides."""
        return last_stages(self.backbone, 3)

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the levels, pixels."""
        own = [stride for _, _, stride in self.stages]
        return *own, 2 * own[-1], 4 * own[-1]

    def setup(self):
        """Neck and head."""
        types = self.dtype, self.param_dtype
        self.neck = FPN(Convolutions(*types, xavier), channels=self.channels)
        self.bbox_head = RetinaHead(
            self.num_classes, Convolutions(*types), self.channels, self.depth
        )

    def __call__(
        self, images: jax.Array, sizes: jax.Array | None = None, train: bool = False
    ) -> DenseOutputs:
        """What it says of images (b, h, w, c), padded, of their own sizes (b, 2).

        `train` matters with norms "batch" alone.
        """
        return self._outputs(images, sizes, train)[0]

    def _outputs(
        self, images: jax.Array, sizes: Any, train: bool = False
    ) -> tuple[DenseOutputs, Any]:
        levels, extents = self.pyramid(images, sizes, train)
        pairs = zip(levels, extents, strict=True)
        logits, deltas = zip(*(self.bbox_head(*pair) for pair in pairs), strict=True)
        return DenseOutputs(logits, deltas), extents

    def pyramid(
        self, images: jax.Array, sizes: jax.Array | None = None, train: bool = False
    ):
        """The levels and their extents."""
        images, extent = enter(images, sizes)
        train = train and self.norms == "batch"
        found = features(self.backbone, images, extent, train)
        extents = extents_of(extent, tuple(stride for *_, stride in self.stages))
        return self.neck(tuple(found[name] for name, *_ in self.stages), extents)

    def training_losses(
        self, images: jax.Array, sizes: Any, targets: Targets, assignment: Assignment
    ) -> dict[str, Summed]:
        """The "loss_cls" and "loss_bbox", for `detection_loss`."""
        outputs, extents = self._outputs(images, sizes, train=True)
        return losses(outputs, self.strides, extents, targets, assignment.crowd_share)

    def candidates(self, images: jax.Array, sizes: Any, score: float) -> Candidates:
        """Boxes and scores before the suppression, for `detect`."""
        outputs, extents = self._outputs(images, sizes)
        b, *padded, _ = images.shape
        size = own_sizes(sizes, b, tuple(padded), outputs.box_dtype)
        return candidates(outputs, self.strides, extents, size, score)


def assigned(
    outputs: DenseOutputs,
    strides: tuple[int, ...],
    extents: tuple[Any, ...],
    targets: Targets,
    crowd_share: float | None = None,
) -> tuple[jax.Array, jax.Array]:
    """All anchors (b, n, 4), and the object (b, n) that each answers for.

    Args: as those of `losses`.
    """
    own, usable = outputs.anchored(anchors.RETINANET, strides, extents)
    return own, assign(targets, own, usable, matching.RETINANET, crowd_share)


def losses(
    outputs: DenseOutputs,
    strides: tuple[int, ...],
    extents: tuple[Any, ...],
    targets: Targets,
    crowd_share: float | None = None,
) -> dict[str, Summed]:
    """The focal loss of all anchors, smooth L1 of the positives, by image and level.

    Both are divided by the positives, at least one an image.

    Args:
        outputs: of the head.
        strides: of the levels.
        extents: of the levels, or Nones.
        targets: of the images.
        crowd_share: see `targets.assign`.

    Reference: Lin et al., ICCV 2017, section 4.
    """
    own, matched = assigned(outputs, strides, extents, targets, crowd_share)
    boxes, labels = targets.of(matched)
    wanted = encode(own, boxes.astype(own.dtype))
    labels = jnp.where(matched >= 0, labels, matched)
    of_levels = map(outputs.of_levels, (labels, wanted))
    levels = zip(outputs.logits, outputs.deltas, *of_levels, strict=True)
    sums = [_of_level(*level) for level in levels]
    positives = (matched >= 0).sum(1).astype(own.dtype)
    by_class, by_box = (jnp.stack(each, axis=1) for each in zip(*sums, strict=True))
    divisor = jnp.maximum(positives, 1)
    return {"loss_cls": Summed(by_class, divisor), "loss_bbox": Summed(by_box, divisor)}


def _of_level(
    logits: jax.Array, deltas: jax.Array, labels: jax.Array, wanted: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Sums (b,) of one level; labels are those of the objects or of `matching`."""
    dtype = wanted.dtype
    counts = labels >= matching.BACKGROUND
    by_class = jnp.where(counts[..., None], focal(logits.astype(dtype), labels), 0)
    # Masked before the loss: what no anchor answers for may be infinite.
    apart = jnp.where((labels >= 0)[..., None], deltas.astype(dtype) - wanted, 0)
    by_box = smooth_l1(apart, BETA)
    return by_class.sum((1, 2, 3, 4)), by_box.sum((1, 2, 3, 4))


def candidates(
    outputs: DenseOutputs,
    strides: tuple[int, ...],
    extents: tuple[Any, ...],
    sizes: jax.Array,
    score: float,
) -> Candidates:
    """The best 1000 pairs of an anchor and a class of each level, above a score.

    Args:
        outputs: of the head.
        strides: of the levels.
        extents: of the levels, or Nones.
        sizes: (b, 2) of the images, floating, to which boxes are clipped.
        score: least.
    """
    found = []
    by_level = outputs.anchors(anchors.RETINANET, strides), outputs.usable(extents)
    for logits, deltas, own, usable in zip(*outputs, *by_level, strict=True):
        b, h, w, count, classes = logits.shape
        scores = jax.nn.sigmoid(logits.astype(own.dtype))
        scores = scores.reshape(b, h * w * count, classes)
        scores = jnp.where(usable[..., None], scores, 0)
        scores, places, labels = best_pairs(scores, score, BEST)
        deltas = deltas.astype(own.dtype).reshape(b, h * w * count, 4)
        deltas = jnp.take_along_axis(deltas, places[..., None], axis=1)
        boxes = clip(decode(own[places], deltas), sizes)
        found.append(Candidates(boxes, scores, labels, scores > score))
    return Candidates(*(jnp.concatenate(x, axis=1) for x in zip(*found, strict=True)))
