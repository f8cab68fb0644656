"""RetinaNet: one dense detector on a pyramid, trained with the focal loss.

Two towers of four 3×3 convolutions, shared by all levels, and at every position a
sigmoid for each anchor and class, and four deltas for each anchor. The backbone's stem
and first stage are frozen, its norms use their running statistics.

Reference: Lin et al., ICCV 2017. Names: mmdetection's.
"""

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from prm_flax.detection import anchors
from prm_flax.detection.convolution import ConvModule, Convolutions, xavier
from prm_flax.detection.fpn import CHANNELS, FPN
from prm_flax.detection.levels import enter, features, last_stages
from prm_flax.layers.extent import strided

# Probability of every class at the start.
PRIOR = 0.01
DEPTH = 4


class DenseOutputs(NamedTuple):
    """What a dense head says at every position, by level, finest first.

    Attributes:
        logits: (b, h, w, anchors, classes) each.
        deltas: (b, h, w, anchors, 4) each, dx, dy, dw, dh.
    """

    logits: tuple[jax.Array, ...]
    deltas: tuple[jax.Array, ...]


class RetinaHead(nn.Module):
    """The two towers, for one level at a time.

    Attributes:
        num_classes: K.
        convolutions: builds the layers.
    """

    num_classes: int
    convolutions: Convolutions

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
        return [ConvModule(make, CHANNELS, 3, relu=True) for _ in range(DEPTH)]


class RetinaNet(nn.Module):
    """RetinaNet on any network of the zoo; `create_detector` builds it by name.

    Attributes:
        backbone: gives its stages' features, with its first stage frozen.
        num_classes: K.
        dtype: of the computation, None for the input's and parameters' common one.
        param_dtype: of the parameters.
    """

    backbone: nn.Module
    num_classes: int = 80
    dtype: Any = None
    param_dtype: Any = jnp.float32

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
        self.neck = FPN(Convolutions(*types, xavier))
        self.bbox_head = RetinaHead(self.num_classes, Convolutions(*types))

    def __call__(
        self, images: jax.Array, sizes: jax.Array | None = None, train: bool = False
    ) -> DenseOutputs:
        """What it says of images (b, h, w, c), padded, of their own sizes (b, 2).

        `train` changes nothing: all norms use their running statistics.
        """
        levels, extents = self.pyramid(images, sizes)
        pairs = zip(levels, extents, strict=True)
        logits, deltas = zip(*(self.bbox_head(*pair) for pair in pairs), strict=True)
        return DenseOutputs(logits, deltas)

    def pyramid(self, images: jax.Array, sizes: jax.Array | None = None):
        """The levels and their extents."""
        images, extent = enter(images, sizes)
        found = features(self.backbone, images, extent)
        extents = tuple(strided(extent, stride) for _, _, stride in self.stages)
        return self.neck(tuple(found[name] for name, *_ in self.stages), extents)
