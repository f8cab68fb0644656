"""ResNet v1.5 (stride in the 3×3 convolution), for ImageNet and for small images.

Reference: He et al., CVPR 2016; the PRM authors' program, whose parameter names the
modules bear with `_` for `.`.
"""

import math
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from prm_flax.backbones.blocks import BasicBlock, Bottleneck
from prm_flax.backbones.slot import Recalibration
from prm_flax.errors import unknown
from prm_flax.layers.basic import (
    Dropout,
    GlobalAveragePool,
    Layers,
    MaxPool,
    ReLU,
    uniform,
)
from prm_flax.layers.extent import cut, require_fixed, strided
from prm_flax.layers.norm import Statistics


class Stem(NamedTuple):
    """Kernel and stride of the first convolution; whether a max pool follows."""

    kernel: int
    stride: int
    pool: bool


STEMS = MappingProxyType(
    {
        "imagenet": Stem(kernel=7, stride=2, pool=True),
        "3x3": Stem(kernel=3, stride=1, pool=False),
        "3x3_stride2": Stem(kernel=3, stride=2, pool=False),
    }
)


class ResNet(nn.Module):
    """A residual network; `prm_flax.create_model` builds the usual ones by name.

    Attributes:
        block: `BasicBlock` or `Bottleneck`.
        depths: blocks of each stage.
        width: planes of the first stage; each next stage has twice as many.
        num_classes: logits.
        stem: "imagenet" (7×7 stride 2 and max pool), "3x3" or "3x3_stride2".
        recalibration: factory of the modules in the slot, or None.
        slot: their name.
        selective: put SK in the place of a 3×3 convolution in every block.
        features_only: return {"stage1": …} instead of logits, and have no classifier.
        frozen_stages: this many of the first stages, and the stem, get no gradient.

    The other attributes are the options of `create_model`.
    """

    block: type[BasicBlock] | type[Bottleneck]
    depths: tuple[int, ...]
    width: int = 64
    num_classes: int = 1000
    stem: str = "imagenet"
    recalibration: Recalibration | None = None
    slot: str = "recalibration"
    selective: bool = False
    dtype: Any = None
    param_dtype: Any = jnp.float32
    dropout: float = 0.0
    batch_norm: Statistics = "global"
    bn_momentum: float = 0.9
    bn_epsilon: float = 1e-5
    zero_init: bool = False
    remat: bool = False
    features_only: bool = False
    frozen_stages: int = 0

    @property
    def feature_info(self) -> tuple[tuple[str, int, int], ...]:
        """Name, channels and stride (pixels) of every stage's output."""
        stem = _stem(self.stem)
        first = stem.stride * (2 if stem.pool else 1)
        return tuple(
            (f"stage{k + 1}", self._planes(k) * self.block.expansion, first * 2**k)
            for k in range(len(self.depths))
        )

    @property
    def parts(self) -> dict[str, str]:
        """Module of the stem or a stage -> "stem" or the stage's name."""
        blocks = {
            f"layer{k + 1}_{i}": f"stage{k + 1}"
            for k, depth in enumerate(self.depths)
            for i in range(depth)
        }
        return {"conv1": "stem", "bn1": "stem", **blocks}

    def _planes(self, stage_index: int) -> int:
        return self.width * 2**stage_index

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, extent=None):
        """(b, h, w, c) -> logits (b, num_classes), or the stages' features.

        With an extent (b, 2) of x, which is 0 outside, an image's results are those of
        the part inside alone.
        """
        require_fixed(train, extent)
        stem = _stem(self.stem)
        layers = Layers(
            self.dtype,
            self.param_dtype,
            self.batch_norm,
            self.bn_momentum,
            self.bn_epsilon,
        )
        x = layers.conv(self.width, stem.kernel, "conv1", stem.stride)(x)
        x = ReLU()(layers.norm("bn1")(x, train))
        extent = strided(extent, stem.stride)
        x = cut(x, extent)
        if stem.pool:
            x, extent = MaxPool()(x), strided(extent, 2)
            x = cut(x, extent)
        block = self._block(layers)
        features = {}
        for k, depth in enumerate(self.depths):
            for i in range(depth):
                stride = 2 if k > 0 and i == 0 else 1
                name = f"layer{k + 1}_{i}"
                x = block(self._planes(k), stride, k + 1, name=name)(x, train, extent)
                extent = strided(extent, stride)
            x = lax.stop_gradient(x) if k < self.frozen_stages else x
            features[f"stage{k + 1}"] = x
        if self.features_only:
            return features
        x = GlobalAveragePool()(x, extent)
        x = Dropout(self.dropout)(x, train)
        init = uniform(1 / math.sqrt(x.shape[-1]))
        return layers.dense(self.num_classes, "fc", init, init)(x)

    def _block(self, layers: Layers):
        block = nn.remat(self.block, static_argnums=(2,)) if self.remat else self.block
        return partial(
            block,
            layers=layers,
            recalibration=self.recalibration,
            slot=self.slot,
            selective=self.selective,
            zero_init=self.zero_init,
        )


def _stem(name: str) -> Stem:
    if name not in STEMS:
        raise unknown("stem", name, STEMS)
    return STEMS[name]
