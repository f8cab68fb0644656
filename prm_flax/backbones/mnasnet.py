"""MnasNet-1.0 (MnasNet-B1).

Reference: Tan et al., CVPR 2019, figure 7 without squeeze-and-excitation; the
parameter names are those of the PRM authors' program and of torchvision, with `_`
for `.`.
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
        "expand": ("layers_0", "layers_1"),
        "depthwise": ("layers_3", "layers_4"),
        "project": ("layers_6", "layers_7"),
    }
)


class MnasNet(MobileNet):
    """MnasNet-1.0, see `MobileNet` for the attributes."""

    # 1 - 0.9997 = 3e-4 is the share of each new batch.
    bn_momentum: float = 0.9997

    stages: ClassVar[tuple[Stage, ...]] = (
        Stage(expansion=3, channels=24, repeats=3, stride=2),
        Stage(expansion=3, channels=40, repeats=3, stride=2, kernel=5),
        Stage(expansion=6, channels=80, repeats=3, stride=2, kernel=5),
        Stage(expansion=6, channels=96, repeats=2, stride=1),
        Stage(expansion=6, channels=192, repeats=4, stride=2, kernel=5),
        Stage(expansion=6, channels=320, repeats=1, stride=1),
    )
    stem: ClassVar[tuple[str, ...]] = tuple(f"layers_{i}" for i in (0, 1, 3, 4, 6, 7))
    relu_limit: ClassVar[float | None] = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, extent=None):
        """(b, h, w, c) -> logits (b, num_classes), or the stages' features.

        With an extent (b, 2) of x, which is 0 outside, an image's results are those of
        the part inside alone.
        """
        require_fixed(train, extent)
        layers = self.layers()
        x = layers.conv(32, 3, "layers_0", stride=2)(x)
        extent = strided(extent, 2)
        x = cut(ReLU()(layers.norm("layers_1")(x, train)), extent)
        # The first, separable layer has no expansion and no slot.
        x = layers.conv(32, 3, "layers_3", groups=32)(x)
        x = cut(ReLU()(layers.norm("layers_4")(x, train)), extent)
        x = layers.norm("layers_7")(layers.conv(16, 1, "layers_6")(x), train)
        x = cut(x, extent)
        x, features, extent = self.blocks(x, train, layers, _layer_names, extent)
        if self.features_only:
            return features
        x = layers.conv(1280, 1, "layers_14")(x)
        x = ReLU()(layers.norm("layers_15")(x, train))
        return self.classify(x, train, layers, extent)

    def block_name(self, stage: int, i: int) -> str:
        """The module of a stage's block, both from 0."""
        return f"layers_{8 + stage}_{i}"


def _layer_names(expansion: int):
    return LAYER_NAMES
