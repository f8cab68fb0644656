"""Cascade R-CNN: proposals, refined and classified in three stages.

The backbone's stem and first stage are frozen, its norms use their running statistics.

Reference: Cai & Vasconcelos, CVPR 2018. Names: mmdetection's.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from prm_flax.detection import rpn
from prm_flax.detection.convolution import Convolutions, xavier
from prm_flax.detection.dense import DenseOutputs
from prm_flax.detection.detect import Candidates, classes_above
from prm_flax.detection.fpn import CHANNELS, FPN
from prm_flax.detection.levels import (
    Norms,
    enter,
    extent_of,
    extents_of,
    features,
    last_stages,
    own_sizes,
)
from prm_flax.detection.objective import Assignment, Summed
from prm_flax.detection.roi_head import HIDDEN, Pyramid, RoIHead, StageOutputs
from prm_flax.detection.targets import Targets

# Proposals of a level before the suppression, and of all levels after it.
TRAINED = 2000
TESTED = 1000


class CascadeRCNN(nn.Module):
    """Cascade R-CNN on any network of the zoo; `create_detector` builds it by name.

    Attributes:
        backbone: gives its stages' features, with its first stage frozen.
        num_classes: K.
        dtype: of the computation, None for the input's and parameters' common one.
        param_dtype: of the parameters.
        norms: statistics of the backbone's batch norms in training: "running", theirs,
            or "batch", which moves those, for a backbone that starts from nothing.
        channels: of the pyramid and the proposal network.
        hidden: of the stages' two dense layers.
    """

    backbone: nn.Module
    num_classes: int = 80
    dtype: Any = None
    param_dtype: Any = jnp.float32
    norms: Norms = "running"
    channels: int = CHANNELS
    hidden: int = HIDDEN

    loss_names: ClassVar[tuple[str, ...]] = (
        *("loss_rpn_cls", "loss_rpn_bbox"),
        *(f"s{k}/{loss}" for k in range(3) for loss in ("loss_cls", "loss_bbox")),
    )

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the levels, pixels."""
        own = [stride for _, _, stride in last_stages(self.backbone, 4)]
        return *own, 2 * own[-1]

    def setup(self):
        """Neck and heads."""
        types = self.dtype, self.param_dtype
        self.neck = FPN(
            Convolutions(*types, xavier), subsample=True, channels=self.channels
        )
        self.rpn_head = rpn.RPNHead(Convolutions(*types), self.channels)
        self.roi_head = RoIHead(self.num_classes, *types, self.hidden)

    def __call__(
        self, images: jax.Array, sizes: jax.Array | None = None, train: bool = False
    ) -> tuple[DenseOutputs, tuple[jax.Array, ...]]:
        """Objectness and deltas of the proposal network, and the pyramid's levels.

        Args:
            images: (b, h, w, c), padded.
            sizes: (b, 2) their own, or None.
            train: matters with norms "batch" alone.
        """
        levels, _ = self.pyramid(images, sizes, train)
        if self.is_initializing():
            box = jnp.zeros((images.shape[0], 1, 4), jnp.float32)
            self.stages(levels, sizes, box)
        return self._dense(levels), levels

    def pyramid(
        self, images: jax.Array, sizes: jax.Array | None = None, train: bool = False
    ):
        """The levels and their extents."""
        images, extent = enter(images, sizes)
        train = train and self.norms == "batch"
        found = features(self.backbone, images, extent, train)
        stages = last_stages(self.backbone, 4)
        extents = extents_of(extent, tuple(stride for *_, stride in stages))
        return self.neck(tuple(found[name] for name, *_ in stages), extents)

    def stages(
        self, images: Any, sizes: jax.Array | None, boxes: jax.Array
    ) -> tuple[StageOutputs, ...]:
        """The three stages on boxes, each on those that the one before moved.

        Args:
            images: (b, h, w, c), or the levels that a call returned.
            sizes: (b, 2) of the images, or None.
            boxes: (b, r, 4) in pixels of the padded images.
        """
        levels = images if isinstance(images, tuple) else self.pyramid(images, sizes)[0]
        return self.roi_head(self._pyramid(levels, sizes), boxes)

    def counted(self, images: jax.Array):
        """All of a detection but what is free of multiply-adds, for `complexity`."""
        levels, _ = self.pyramid(images)
        boxes = jnp.zeros((images.shape[0], TESTED, 4), jnp.float32)
        return self._dense(levels), self.stages(levels, None, boxes)

    def training_losses(
        self, images: jax.Array, sizes: Any, targets: Targets, assignment: Assignment
    ) -> dict[str, Summed]:
        """Those of the proposal network and of each stage, for `detection_loss`."""
        if assignment.random and assignment.keys is None:
            raise ValueError(
                "Proposals are drawn at random: detection_loss needs a key, or "
                "sampling='all'."
            )
        levels, extents = self.pyramid(images, sizes, train=True)
        outputs, pyramid = self._dense(levels), self._pyramid(levels, sizes)
        found = rpn.losses(
            outputs, self.strides, extents, pyramid.sizes, targets, assignment
        )
        if assignment.proposals is None:
            proposed = self._proposals(outputs, extents, pyramid.sizes, TRAINED)
        else:
            boxes = assignment.proposals.astype(outputs.box_dtype)
            there = (boxes[..., :2] < boxes[..., 2:]).all(-1)
            proposed = rpn.Proposals(boxes, there.astype(boxes.dtype), there)
        return found | self.roi_head.training_losses(
            pyramid, proposed, targets, assignment
        )

    def candidates(self, images: jax.Array, sizes: Any, score: float) -> Candidates:
        """Boxes and scores before the suppression, for `detect`."""
        levels, extents = self.pyramid(images, sizes)
        outputs, pyramid = self._dense(levels), self._pyramid(levels, sizes)
        proposed = self._proposals(outputs, extents, pyramid.sizes, TESTED)
        return candidates(self.roi_head(pyramid, proposed.boxes), proposed.valid, score)

    def _dense(self, levels: tuple[jax.Array, ...]) -> DenseOutputs:
        pairs = [self.rpn_head(level) for level in levels]
        logits, deltas = zip(*pairs, strict=True)
        return DenseOutputs(logits, deltas)

    def _proposals(self, outputs, extents, sizes, count: int) -> rpn.Proposals:
        found = rpn.proposals(outputs, self.strides, extents, sizes, count, count)
        return jax.lax.stop_gradient(found)

    def _pyramid(self, levels: tuple[jax.Array, ...], sizes: Any) -> Pyramid:
        b, *finest, _ = levels[0].shape
        size = tuple(n * self.strides[0] for n in finest)
        own = None if sizes is None else extent_of(sizes, size)
        dtype = jnp.promote_types(levels[0].dtype, jnp.float32)
        return Pyramid(
            levels[:-1],
            self.strides[:-1],
            extents_of(own, self.strides)[0],
            own_sizes(sizes, b, size, dtype),
        )


def candidates(
    stages: tuple[StageOutputs, ...], valid: jax.Array, score: float
) -> Candidates:
    """The last stage's boxes, each with its classes above a score.

    Scores are the softmax of the mean of the stages' logits.

    Args:
        stages: their outputs on (b, r) proposals.
        valid: (b, r) which of these there are.
        score: least.
    """
    boxes = stages[-1].boxes
    logits = sum(stage.logits.astype(boxes.dtype) for stage in stages) / len(stages)
    scores = jax.nn.softmax(logits, axis=-1)[..., :-1]
    # No more classes than these can be above it: scores add up to 1.
    most = classes_above(score, scores.shape[-1])
    scores, labels = jax.lax.top_k(scores, most)
    there = (scores > score) & valid[..., None]
    boxes = jnp.broadcast_to(boxes[:, :, None], (*scores.shape, 4))
    b, r, _ = scores.shape
    flat = (x.reshape(b, r * most) for x in (scores, labels, there))
    return Candidates(boxes.reshape(b, r * most, 4), *flat)
