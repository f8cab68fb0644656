"""The three stages of Cascade R-CNN: classes and deltas of proposals.

Each stage is trained on the boxes of the one before, with a higher overlap asked of a
positive. Two dense layers of 1024 on RoIAlign's 7×7 grid, then K + 1 classes (the last
is the background) and four deltas, the same for all classes.

Reference: Cai & Vasconcelos, CVPR 2018. Names: mmdetection's.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from prm_flax.detection import matching, sampling
from prm_flax.detection.boxes import Stds, clip, decode, encode
from prm_flax.detection.convolution import small, xavier
from prm_flax.detection.losses import cross_entropy, smooth_l1
from prm_flax.detection.objective import Assignment, Summed
from prm_flax.detection.roi_align import align_images
from prm_flax.detection.rpn import Proposals
from prm_flax.detection.targets import Targets, assign
from prm_flax.layers.basic import ReLU

HIDDEN = 1024
BETA = 1.0  # of smooth L1


class StageRule(NamedTuple):
    """What a stage is trained with.

    Attributes:
        overlap: least of a positive with its object.
        stds: what deltas are divided by.
        weight: of the stage's losses.
    """

    overlap: float
    stds: Stds
    weight: float


STAGES = (
    StageRule(0.5, (0.1, 0.1, 0.2, 0.2), 1.0),
    StageRule(0.6, (0.05, 0.05, 0.1, 0.1), 0.5),
    StageRule(0.7, (0.033, 0.033, 0.067, 0.067), 0.25),
)


class StageOutputs(NamedTuple):
    """What one stage says of r boxes an image.

    Attributes:
        logits: (b, r, K + 1), the background last.
        deltas: (b, r, 4).
        boxes: (b, r, 4), the boxes that the deltas move to, within the image.
    """

    logits: jax.Array
    deltas: jax.Array
    boxes: jax.Array


class Pyramid(NamedTuple):
    """Where boxes' features come from.

    Attributes:
        levels: (b, h, w, c) each, finest first, of strides that double.
        strides: pixels of the image.
        extent: (b, 2) of the finest level, or None.
        sizes: (b, 2) of the images, floating.
    """

    levels: tuple[jax.Array, ...]
    strides: tuple[int, ...]
    extent: Any
    sizes: jax.Array

    def features(self, boxes: jax.Array) -> jax.Array:
        """(b, r, 4) -> (b, r, 7, 7, c)."""
        return align_images(self.levels, self.strides, boxes, self.extent)


class BBoxHead(nn.Module):
    """One stage's layers.

    Attributes:
        num_classes: K.
        dtype: of the computation, None for the input's and parameters' common one.
        param_dtype: of the parameters.
        hidden: of the shared layers.
    """

    num_classes: int
    dtype: Any = None
    param_dtype: Any = jnp.float32
    hidden: int = HIDDEN

    def setup(self):
        """Two shared layers, one for classes, one for boxes."""
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        first = nn.DenseGeneral(self.hidden, axis=(-2, -1), kernel_init=xavier, **types)
        self.shared_fcs = [first, nn.Dense(self.hidden, kernel_init=xavier, **types)]
        self.fc_cls = nn.Dense(self.num_classes + 1, kernel_init=small, **types)
        self.relu = ReLU()
        smaller = nn.initializers.normal(0.001)
        self.fc_reg = nn.Dense(4, kernel_init=smaller, **types)

    def __call__(self, features: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(b, r, 7, 7, c) -> logits (b, r, K + 1), deltas (b, r, 4)."""
        *batch, h, w, c = features.shape
        x = features.reshape(*batch, h * w, c)
        for layer in self.shared_fcs:
            x = self.relu(layer(x))
        return self.fc_cls(x), self.fc_reg(x)


class RoIHead(nn.Module):
    """The three stages.

    Attributes:
        num_classes: K.
        dtype: of the computation, None for the input's and parameters' common one.
        param_dtype: of the parameters.
        hidden: of the stages' shared layers.
    """

    num_classes: int
    dtype: Any = None
    param_dtype: Any = jnp.float32
    hidden: int = HIDDEN

    def setup(self):
        """The stages' heads."""
        types = self.dtype, self.param_dtype, self.hidden
        self.bbox_head = [BBoxHead(self.num_classes, *types) for _ in STAGES]

    def __call__(self, pyramid: Pyramid, boxes: jax.Array) -> tuple[StageOutputs, ...]:
        """Each stage on the boxes of the one before, the first on those given."""
        found = []
        for head, rule in zip(self.bbox_head, STAGES, strict=True):
            stage = self._stage(head, rule, pyramid, boxes)
            boxes = stage.boxes
            found.append(stage)
        return tuple(found)

    def training_losses(
        self,
        pyramid: Pyramid,
        proposals: Proposals,
        targets: Targets,
        assignment: Assignment,
    ) -> dict[str, Summed]:
        """The losses of each stage by name, with the stages' weights.

        The objects themselves are added to the proposals, as positives, and left out of
        what the next stage gets.
        """
        boxes, valid = proposals.boxes, proposals.valid
        found = {}
        for k, (head, rule) in enumerate(zip(self.bbox_head, STAGES, strict=True)):
            chosen = choose(boxes, valid, targets, rule.overlap, assignment, k)
            stage = self._stage(head, rule, pyramid, chosen.boxes)
            of_stage = losses(stage, chosen, targets, rule, self.num_classes)
            found |= {f"s{k}/{name}": loss for name, loss in of_stage.items()}
            boxes, valid = jax.lax.stop_gradient(stage.boxes), chosen.proposed
        return found

    def _stage(self, head: Any, rule: StageRule, pyramid: Pyramid, boxes: jax.Array):
        boxes = jax.lax.stop_gradient(boxes)
        logits, deltas = head(pyramid.features(boxes))
        moves = deltas.astype(boxes.dtype)
        moved = clip(decode(boxes, moves, rule.stds), pyramid.sizes)
        return StageOutputs(logits, deltas, moved)


class Chosen(NamedTuple):
    """The boxes that a stage is trained on, s an image.

    Attributes:
        boxes: (b, s, 4).
        matched: (b, s) int32, see `matching.match`; UNUSED where there is none.
        proposed: (b, s) bool, those that are proposals, not objects.
    """

    boxes: jax.Array
    matched: jax.Array
    proposed: jax.Array


def choose(
    boxes: jax.Array,
    valid: jax.Array,
    targets: Targets,
    overlap: float,
    assignment: Assignment,
    stage: int,
) -> Chosen:
    """Matches proposals with objects, adds the objects, draws 512 or takes all.

    Args:
        boxes: (b, r, 4) proposed.
        valid: (b, r) which of them there are.
        targets: of the images.
        overlap: least of a positive with its object.
        assignment: with keys, at most a quarter of those drawn are positives.
        stage: its number; each draws anew.
    """
    rule = matching.Thresholds(overlap, overlap)
    matched = assign(targets, boxes, valid, rule, assignment.crowd_share)
    b, m = targets.valid.shape
    numbers = jnp.broadcast_to(jnp.arange(m, dtype=jnp.int32), (b, m))
    themselves = jnp.where(targets.objects, numbers, matching.UNUSED)
    matched = jnp.concatenate([themselves, matched], axis=1)
    boxes = jnp.concatenate([targets.boxes.astype(boxes.dtype), boxes], axis=1)
    proposed = jnp.broadcast_to(jnp.arange(boxes.shape[1]) >= m, matched.shape)
    positive, negative = matched >= 0, matched == matching.BACKGROUND
    if not assignment.random:
        there = positive | negative
        return Chosen(
            boxes, jnp.where(there, matched, matching.UNUSED), proposed & there
        )

    # An object's number is below 0, so that what is drawn is the same for every m.
    draws = jnp.concatenate(
        [~numbers[0], jnp.arange(boxes.shape[1] - m, dtype=jnp.int32)]
    )

    def of_image(key, positive, negative, boxes, matched, proposed):
        key = jax.random.fold_in(key, stage + 1)
        drawn = sampling.sample(key, positive, negative, sampling.STAGE, draws)
        places, there = sampling.compact(drawn, sampling.STAGE.number)
        matched = jnp.where(there, matched[places], matching.UNUSED)
        return Chosen(boxes[places], matched, proposed[places] & there)

    keys = assignment.keys
    return jax.vmap(of_image)(keys, positive, negative, boxes, matched, proposed)


def losses(
    stage: StageOutputs, chosen: Chosen, targets: Targets, rule: StageRule, classes: int
) -> dict[str, Summed]:
    """Entropy of all boxes, smooth L1 of the positives; both over all boxes."""
    dtype = stage.boxes.dtype
    positive, there = chosen.matched >= 0, chosen.matched != matching.UNUSED
    boxes, labels = targets.of(chosen.matched)
    labels = jnp.where(positive, labels, classes)
    by_class = cross_entropy(stage.logits.astype(dtype), labels)
    wanted = encode(chosen.boxes, boxes.astype(dtype), rule.stds)
    apart = stage.deltas.astype(dtype) - wanted
    by_box = smooth_l1(jnp.where(positive[..., None], apart, 0), BETA)
    by_class = rule.weight * jnp.where(there, by_class, 0).sum(1)
    by_box = rule.weight * by_box.sum((1, 2))
    count = there.sum(1).astype(dtype)
    return {
        "loss_cls": Summed(by_class[:, None], count),
        "loss_bbox": Summed(by_box[:, None], count),
    }
