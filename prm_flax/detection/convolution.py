"""The convolutions of necks and heads: with bias, without a norm."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from prm_flax.layers.basic import ReLU
from prm_flax.layers.convolution import convolve
from prm_flax.layers.extent import Extent, cut

xavier = nn.initializers.xavier_uniform()
small = nn.initializers.normal(0.01)


@dataclasses.dataclass(frozen=True)
class Convolutions:
    """Builds the convolutions of one part of a detector.

    Attributes:
        dtype: of the computation, None for the input's and parameters' common one.
        param_dtype: of the parameters.
        kernel_init: their start; biases start at 0.
    """

    dtype: Any = None
    param_dtype: Any = jnp.float32
    kernel_init: nn.initializers.Initializer = small

    def conv(
        self, features: int, kernel: int, name: str | None, stride: int = 1, **options
    ) -> nn.Conv:
        """A convolution k×k with bias, padding (k-1)/2."""
        pad = (kernel - 1) // 2
        return nn.Conv(
            features,
            (kernel, kernel),
            (stride, stride),
            padding=((pad, pad), (pad, pad)),
            kernel_init=self.kernel_init,
            conv_general_dilated=convolve,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name=name,
            **options,
        )


class ConvModule(nn.Module):
    """A convolution as the child `conv`, then a ReLU or none; 0 beyond the extent.

    Attributes:
        convolutions: builds it.
        features: channels.
        kernel: k.
        stride: of rows and columns.
        relu: whether a ReLU follows.
    """

    convolutions: Convolutions
    features: int
    kernel: int
    stride: int = 1
    relu: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, extent: Extent | None) -> jax.Array:
        """(b, h, w, c) -> (b, ⌈h/stride⌉, ⌈w/stride⌉, features); extent after it."""
        conv = self.convolutions.conv
        y = conv(self.features, self.kernel, "conv", self.stride)(x)
        return cut(ReLU()(y) if self.relu else y, extent)
