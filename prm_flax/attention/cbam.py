"""CBAM, the Convolutional Block Attention Module.

Paper: S. Woo, J. Park, J.-Y. Lee, I. S. Kweon, "CBAM: Convolutional Block Attention
Module", ECCV 2018, section 3. Source: github.com/Jongchan/attention-module.
Deviations from the paper, all of them the authors' code's: the dense layers have
biases, and a batch norm, whose scale starts at 0, follows the spatial convolution.
Deviation from that code: where a maximum is reached more than once its gradient is
shared, there it goes to one place.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from prm_flax.attention.common import check_positive, enter, two_dense
from prm_flax.layers.basic import GlobalAveragePool, GlobalMaxPool, Layers
from prm_flax.layers.extent import require_fixed
from prm_flax.layers.norm import Statistics


class CBAM(nn.Module):
    """Convolutional Block Attention: a gate a channel, then a gate a position.

    With the mean and the maximum over positions, one MLP for both, and then the
    maximum and the mean over channels::

        u = x · sigmoid(MLP(mean x) + MLP(max x)),  MLP(z) = W₂ relu(W₁ z + b₁) + b₂
        y = u · sigmoid(BN(conv7×7([max u, mean u])))

    The scale of BN starts at 0, so that the second gate is ½ everywhere. The arithmetic
    is in float32, in float64 where x is float64.

    Attributes:
        reduction: r; the MLP has ⌊C/r⌋ hidden numbers, at least one.
        batch_norm: images a batch-norm statistic is taken over, or "global".
        bn_momentum: share of the old running statistics kept; the authors' 0.99.
        bn_epsilon: added to the variance.
        dtype: if given, x is cast to it and the result has it; else x's.
        param_dtype: the parameters' dtype.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from prm_flax.attention import CBAM
        >>> x = jnp.ones((2, 8, 8, 64))
        >>> cbam = CBAM(reduction=16)
        >>> variables = cbam.init(jax.random.key(0), x)
        >>> y, new = cbam.apply(variables, x, train=True, mutable=["batch_stats"])
        >>> y.shape
        (2, 8, 8, 64)

    Reference: Woo et al., ECCV 2018, equations 1 to 3.
    """

    reduction: int = 16
    batch_norm: Statistics = "global"
    bn_momentum: float = 0.99
    bn_epsilon: float = 1e-5
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, train: bool = False, extent=None):
        """Gates x (b, h, w, C), within an extent (b, 2).

        `train` chooses the batch's own statistics, which an extent forbids.
        """
        check_positive(reduction=self.reduction)
        require_fixed(train, extent)
        x, dtype = enter(x, self.dtype, extent=extent)
        layers = Layers(
            x.dtype,
            self.param_dtype,
            self.batch_norm,
            self.bn_momentum,
            self.bn_epsilon,
        )
        gate = _ChannelGate(self.reduction, self.param_dtype, name="ChannelGate")
        x = x * gate(x, extent)
        x = x * _SpatialGate(layers, name="SpatialGate")(x, train)
        return x.astype(dtype)


class _ChannelGate(nn.Module):
    reduction: int
    param_dtype: Any

    @nn.compact
    def __call__(self, x, extent):
        """(b, h, w, c) -> (b, 1, 1, c)."""
        pools = GlobalAveragePool()(x, extent), GlobalMaxPool()(x, extent)
        both = jnp.stack(pools, axis=1)
        both = two_dense(both, self.reduction, ("mlp_1", "mlp_3"), self.param_dtype)
        return jax.nn.sigmoid(both.sum(1))[:, None, None]


class _SpatialGate(nn.Module):
    layers: Layers

    @nn.compact
    def __call__(self, x, train):
        """(b, h, w, c) -> (b, h, w, 1)."""
        maps = jnp.stack([x.max(-1), x.mean(-1)], axis=-1)
        return jax.nn.sigmoid(_ConvNorm(self.layers, name="spatial")(maps, train))


class _ConvNorm(nn.Module):
    layers: Layers

    @nn.compact
    def __call__(self, maps, train):
        """(b, h, w, 2) -> (b, h, w, 1)."""
        maps = self.layers.conv(1, 7, "conv")(maps)
        return self.layers.norm("bn", zero=True)(maps, train)
