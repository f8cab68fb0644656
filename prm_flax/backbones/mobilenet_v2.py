"""MobileNetV2, width 1.0.

Reference: Sandler et al., CVPR 2018, table 2; the parameter names are those of the
PRM authors' program and of torchvision, with `_` for `.`.
"""

from types import MappingProxyType
from typing import ClassVar

import flax.linen as nn
import jax

from prm_flax.backbones.mobile import MobileNet, Stage
from prm_flax.layers.basic import ReLU
from prm_flax.layers.extent import cut, require_fixed, strided

LAYER_NAMES = MappingProxyType(
    {
        "expand": ("conv_0_0", "conv_0_1"),
        "depthwise": ("conv_1_0", "conv_1_1"),
        "project": ("conv_2", "conv_3"),
    }
)
# The block without an expansion counts its layers from the depthwise one.
FIRST_LAYER_NAMES = MappingProxyType(
    {"depthwise": ("conv_0_0", "conv_0_1"), "project": ("conv_1", "conv_2")}
)


class MobileNetV2(MobileNet):
    """MobileNetV2, see `MobileNet` for the attributes."""

    stages: ClassVar[tuple[Stage, ...]] = (
        Stage(expansion=1, channels=16, repeats=1, stride=1),
        Stage(expansion=6, channels=24, repeats=2, stride=2),
        Stage(expansion=6, channels=32, repeats=3, stride=2),
        Stage(expansion=6, channels=64, repeats=4, stride=2),
        Stage(expansion=6, channels=96, repeats=3, stride=1),
        Stage(expansion=6, channels=160, repeats=3, stride=2),
        Stage(expansion=6, channels=320, repeats=1, stride=1),
    )
    stem: ClassVar[tuple[str, ...]] = ("features_0_0", "features_0_1")
    relu_limit: ClassVar[float | None] = 6.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, extent=None):
        """(b, h, w, c) -> logits (b, num_classes), or the stages' features.

        With an extent (b, 2) of x, which is 0 outside, an image's results are those of
        the part inside alone.
        """
        require_fixed(train, extent)
        layers = self.layers()
        x = layers.conv(32, 3, "features_0_0", stride=2)(x)
        extent = strided(extent, 2)
        x = cut(ReLU(6.0)(layers.norm("features_0_1")(x, train)), extent)
        x, features, extent = self.blocks(x, train, layers, _layer_names, extent)
        if self.features_only:
            return features
        last = 1 + sum(stage.repeats for stage in self.stages)
        x = layers.conv(1280, 1, f"features_{last}_0")(x)
        x = ReLU(6.0)(layers.norm(f"features_{last}_1")(x, train))
        return self.classify(x, train, layers, extent)

    def block_name(self, stage: int, i: int) -> str:
        """The module of a stage's block, both from 0."""
        before = sum(s.repeats for s in self.stages[:stage])
        return f"features_{1 + before + i}"


def _layer_names(expansion: int):
    return FIRST_LAYER_NAMES if expansion == 1 else LAYER_NAMES
