"""The residual blocks of ResNet v1.5 (stride in the 3×3 convolution)."""

import math

import flax.linen as nn

from prm_flax.attention.sk import SK
from prm_flax.backbones.slot import Recalibration, end_of_branch
from prm_flax.layers.basic import Layers, ReLU
from prm_flax.layers.extent import cut, strided


class Block(nn.Module):
    """What all blocks are told.

    Attributes:
        planes: channels of the 3×3 convolutions.
        stride: of the first of them.
        stage: number of the stage, from 1.
        layers: makes convolutions and norms.
        recalibration: makes the module after the last norm, if there is one.
        slot: its name.
        selective: whether SK replaces a 3×3 convolution.
        zero_init: whether the last norm starts at scale 0.
    """

    planes: int
    stride: int
    stage: int
    layers: Layers
    recalibration: Recalibration | None
    slot: str
    selective: bool
    zero_init: bool


class BasicBlock(Block):
    """Two 3×3 convolutions and the identity, or a 1×1 convolution of it.

    `selective` replaces the first, which a norm and a ReLU follow as SK's own do; the
    second has no ReLU before the sum.
    """

    expansion = 1

    @nn.compact
    def __call__(self, x, train, extent=None):
        """(b, h, w, c) -> (b, h/stride, w/stride, planes); `extent` is x's."""
        conv, norm = self.layers.conv, self.layers.norm
        after = strided(extent, self.stride)
        y = _three_by_three(self, x, 1, train, extent)
        y = conv(self.planes, 3, "conv2")(y)
        last, identity = norm("bn2", zero=self.zero_init), _shortcut(self, x, y, train)
        return end_of_branch(self, last, y, identity, ReLU(), train, after)


class Bottleneck(Block):
    """1×1, 3×3 and 1×1 convolutions and the identity, or a 1×1 convolution of it.

    `selective` replaces the 3×3.
    """

    expansion = 4

    @nn.compact
    def __call__(self, x, train, extent=None):
        """(b, h, w, c) -> (b, h/stride, w/stride, 4·planes); `extent` is x's."""
        conv, norm = self.layers.conv, self.layers.norm
        after = strided(extent, self.stride)
        y = ReLU()(norm("bn1")(conv(self.planes, 1, "conv1")(x), train))
        y = _three_by_three(self, cut(y, extent), 2, train, extent)
        y = conv(4 * self.planes, 1, "conv3")(y)
        last, identity = norm("bn3", zero=self.zero_init), _shortcut(self, x, y, train)
        return end_of_branch(self, last, y, identity, ReLU(), train, after)


def _three_by_three(block, x, number: int, train, extent):
    """The block's 3×3 convolution, norm and ReLU, or SK in their place."""
    layers, planes, stride = block.layers, block.planes, block.stride
    if not block.selective:
        x = layers.conv(planes, 3, f"conv{number}", stride)(x)
        x = ReLU()(layers.norm(f"bn{number}")(x, train))
        return cut(x, strided(extent, stride))
    # As many of its 32 as divide both sides: small networks have 16 channels.
    groups = math.gcd(SK.groups, x.shape[-1], planes)
    sk = SK(planes, stride, groups=groups, number=number, **vars(layers))
    # Its layers are the block's own, as in PyTorch's names.
    nn.share_scope(block, sk)
    return sk(x, train, extent)


def _shortcut(block, x, y, train):
    if x.shape == y.shape:
        return x
    x = block.layers.conv(y.shape[-1], 1, "downsample_0", block.stride)(x)
    return block.layers.norm("downsample_1")(x, train)
