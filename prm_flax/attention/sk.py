"""SK, Selective Kernel.

Paper: X. Li, W. Wang, X. Hu, J. Yang, "Selective Kernel Networks", CVPR 2019,
section 3.1. Source: github.com/implus/SKNet. Deviations, those of the network PRM was
compared with: the branches are a dense and a grouped 3×3 convolution (the paper: 3×3
and 5×5, both grouped), and the narrow layer has C/16 numbers, without the paper's
minimum of 32.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from prm_flax.attention.common import check_positive, enter, reduced
from prm_flax.layers.basic import GlobalAveragePool, Layers, ReLU, relu
from prm_flax.layers.extent import cut, require_fixed, strided
from prm_flax.layers.norm import Statistics


class SK(nn.Module):
    """Selective Kernel: two 3×3 convolutions, and for each channel how much of which.

    It stands where a network has a 3×3 convolution, batch norm and ReLU::

        d₁ = relu(BN(conv3×3(x)))           dense
        d₂ = relu(BN(conv3×3(x)))           in groups
        z  = relu(BN(W₁ (mean d₁ + mean d₂)))              W₁ (C/r, C)
        a₁, a₂ = softmax over the two of W₂ z              W₂ (2C, C/r)
        y  = a₁ d₁ + a₂ d₂

    The convolutions are in x's dtype, all from the means on in float32, in float64
    where x is float64.

    Attributes:
        features: C, channels of the result.
        stride: of both convolutions, pixels.
        groups: of the second; must divide C and the channels of x.
        reduction: r; the narrow layer has ⌊C/r⌋ numbers, at least one.
        number: which of a block's convolutions it replaces, for the layers' names:
            conv2, bn2, conv2g, bn2g, conv_fc1, bn_fc1, conv_fc2.
        batch_norm: images a batch-norm statistic is taken over, or "global".
        bn_momentum: share of the old running statistics kept.
        bn_epsilon: added to the variance.
        dtype: if given, x is cast to it and the result has it; else x's.
        param_dtype: the parameters' dtype.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from prm_flax.attention import SK
        >>> x = jnp.ones((2, 8, 8, 64))
        >>> sk = SK(128, stride=2)
        >>> variables = sk.init(jax.random.key(0), x)
        >>> sk.apply(variables, x).shape
        (2, 4, 4, 128)

    Reference: Li et al., CVPR 2019, equations 1 to 6.
    """

    features: int
    stride: int = 1
    _: dataclasses.KW_ONLY
    groups: int = 32
    reduction: int = 16
    number: int = 2
    batch_norm: Statistics = "global"
    bn_momentum: float = 0.9
    bn_epsilon: float = 1e-5
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, train: bool = False, extent=None):
        """(b, h, w, c) -> (b, ⌈h/stride⌉, ⌈w/stride⌉, features).

        With an extent (b, 2), x's, the result is 0 outside ⌈extent/stride⌉.
        """
        self._check()
        require_fixed(train, extent)
        x, dtype = enter(x, self.dtype, self.groups, extent)
        core, after = x.dtype, strided(extent, self.stride)
        one, two = (
            cut(self._branch(x.astype(dtype), groups, suffix, train), after)
            for groups, suffix in ((1, ""), (self.groups, "g"))
        )
        pool = GlobalAveragePool()
        one, two = one.astype(core), two.astype(core)
        shares = self._shares(pool(one, after) + pool(two, after), train)
        return (shares[0] * one + shares[1] * two).astype(dtype)

    def _branch(self, x, groups: int, suffix: str, train: bool):
        """3×3, norm, ReLU."""
        layers, which = self._layers(x.dtype), f"{self.number}{suffix}"
        y = layers.conv(self.features, 3, f"conv{which}", self.stride, groups)(x)
        y = layers.norm(f"bn{which}")(y, train)
        # Named: a block whose scope is shared has nameless ones of its own.
        return ReLU(name=f"relu{which}")(y)

    def _shares(self, z: Float[Array, "b c"], train: bool) -> Float[Array, "2 b 1 1 c"]:
        """The weights of the two branches, which sum to one in each channel."""
        layers, hidden = self._layers(z.dtype), reduced(self.features, self.reduction)
        z = layers.conv(hidden, 1, "conv_fc1")(z[:, None, None])
        # A function, and so free by the paper's counter, as in the network it counted.
        z = relu(layers.norm("bn_fc1")(z, train))
        z = layers.conv(2 * self.features, 1, "conv_fc2")(z)
        return jax.nn.softmax(jnp.stack(jnp.split(z, 2, axis=-1)), axis=0)

    def _layers(self, dtype) -> Layers:
        return Layers(
            dtype, self.param_dtype, self.batch_norm, self.bn_momentum, self.bn_epsilon
        )

    def _check(self) -> None:
        names = ("features", "stride", "groups", "reduction", "number")
        check_positive(**{name: getattr(self, name) for name in names})
        if self.features % self.groups:
            raise ValueError(
                f"groups must divide the features: {self.features} features, "
                f"{self.groups} groups."
            )
