"""What MobileNetV2 and MnasNet share: inverted residuals and the tail."""

from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from prm_flax.backbones.slot import Recalibration, end_of_branch
from prm_flax.layers.basic import Dropout, Layers, ReLU, global_mean
from prm_flax.layers.extent import cut, strided
from prm_flax.layers.norm import Statistics

# For both networks: the official MnasNet program draws N(mean 0.01, std 1), a slip.
classifier_init = nn.initializers.normal(0.01)


class Stage(NamedTuple):
    """One row of the papers' tables: n inverted residuals of the same width."""

    expansion: int
    channels: int
    repeats: int
    stride: int
    kernel: int = 3


class InvertedResidual(nn.Module):
    """1×1 expansion, depthwise k×k, linear 1×1 projection, and the identity if any.

    Attributes:
        channels: of the output.
        stride: of the depthwise convolution.
        expansion: hidden over input channels; 1 leaves the first convolution out.
        kernel: k.
        stage: passed to the recalibration factory.
        names: ("expand", "depthwise", "project") -> names of (convolution, norm).
        relu_limit: 6 for ReLU6, None for ReLU.
    """

    channels: int
    stride: int
    expansion: int
    kernel: int
    stage: int
    names: MappingProxyType[str, tuple[str, str]]
    relu_limit: float | None
    layers: Layers
    recalibration: Recalibration | None
    slot: str
    zero_init: bool

    @nn.compact
    def __call__(self, x, train, extent=None):
        """(b, h, w, c) -> (b, h/stride, w/stride, channels); `extent` is x's."""
        conv, norm = self.layers.conv, self.layers.norm
        hidden = x.shape[-1] * self.expansion
        y = x
        if self.expansion != 1:
            conv_name, norm_name = self.names["expand"]
            y = conv(hidden, 1, conv_name)(y)
            y = cut(ReLU(self.relu_limit)(norm(norm_name)(y, train)), extent)
        conv_name, norm_name = self.names["depthwise"]
        y = conv(hidden, self.kernel, conv_name, self.stride, groups=hidden)(y)
        after = strided(extent, self.stride)
        y = cut(ReLU(self.relu_limit)(norm(norm_name)(y, train)), after)
        conv_name, norm_name = self.names["project"]
        y = conv(self.channels, 1, conv_name)(y)
        last = norm(norm_name, zero=self.zero_init)
        identity = x if x.shape == y.shape else None
        return end_of_branch(self, last, y, identity, None, train, after)


class MobileNet(nn.Module):
    """The part of a mobile network that does not depend on which one it is.

    Attributes:
        num_classes: logits.
        recalibration: factory of the modules in the slot, or None.
        slot: their name.
        features_only: return {"stage1": …} instead of logits, and have no classifier.
        frozen_stages: this many of the first stages, and the stem, get no gradient.

    The other attributes are the options of `create_model`.
    """

    num_classes: int = 1000
    recalibration: Recalibration | None = None
    slot: str = "recalibration"
    dtype: Any = None
    param_dtype: Any = jnp.float32
    dropout: float = 0.2
    batch_norm: Statistics = "global"
    bn_momentum: float = 0.9
    bn_epsilon: float = 1e-5
    zero_init: bool = False
    remat: bool = False
    features_only: bool = False
    frozen_stages: int = 0

    stages: ClassVar[tuple[Stage, ...]]
    stem: ClassVar[tuple[str, ...]]
    # (stage, i) -> the module of a stage's block, both from 0.
    block_name: ClassVar[Callable[[int, int], str]]
    relu_limit: ClassVar[float | None]

    @property
    def feature_info(self) -> tuple[tuple[str, int, int], ...]:
        """Name, channels and stride (pixels) of every stage's output."""
        info, stride = [], 2
        for k, stage in enumerate(self.stages):
            stride *= stage.stride
            info.append((f"stage{k + 1}", stage.channels, stride))
        return tuple(info)

    @property
    def parts(self) -> dict[str, str]:
        """Module of the stem or a stage -> "stem" or the stage's name."""
        blocks = {
            self.block_name(k, i): f"stage{k + 1}"
            for k, stage in enumerate(self.stages)
            for i in range(stage.repeats)
        }
        return dict.fromkeys(self.stem, "stem") | blocks

    def layers(self) -> Layers:
        """The layers with this network's dtypes and batch-norm settings."""
        return Layers(
            self.dtype,
            self.param_dtype,
            self.batch_norm,
            self.bn_momentum,
            self.bn_epsilon,
        )

    def blocks(self, x, train, layers, layer_names, extent=None):
        """All inverted residuals; the last output and its extent, and every stage's.

        `layer_names(expansion)` are those of a block's layers.
        """
        block = InvertedResidual
        if self.remat:
            block = nn.remat(block, static_argnums=(2,))
        block = partial(
            block,
            layers=layers,
            recalibration=self.recalibration,
            slot=self.slot,
            zero_init=self.zero_init,
            relu_limit=self.relu_limit,
        )
        features = {}
        for k, stage in enumerate(self.stages):
            for i in range(stage.repeats):
                stride = stage.stride if i == 0 else 1
                x = block(
                    channels=stage.channels,
                    stride=stride,
                    expansion=stage.expansion,
                    kernel=stage.kernel,
                    stage=k + 1,
                    names=layer_names(stage.expansion),
                    name=self.block_name(k, i),
                )(x, train, extent)
                extent = strided(extent, stride)
            x = lax.stop_gradient(x) if k < self.frozen_stages else x
            features[f"stage{k + 1}"] = x
        return x, features, extent

    def classify(self, x, train: bool, layers: Layers, extent=None) -> jax.Array:
        """(b, h, w, c) -> logits (b, num_classes)."""
        # A function in the official programs, and so free by the paper's counter.
        x = global_mean(x, extent)
        x = Dropout(self.dropout)(x, train)
        zeros = nn.initializers.zeros
        return layers.dense(self.num_classes, "classifier_1", classifier_init, zeros)(x)
