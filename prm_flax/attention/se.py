"""SE, Squeeze-and-Excitation.

Paper: J. Hu, L. Shen, G. Sun, "Squeeze-and-Excitation Networks", CVPR 2018, section 3.
Source: github.com/hujie-frank/SENet. Deviation: the dense layers have biases, which
equation 3 does not show, as in the network that PRM was compared with.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from prm_flax.attention.common import check_positive, enter, two_dense
from prm_flax.layers.basic import GlobalAveragePool


class SE(nn.Module):
    """Squeeze-and-Excitation: a gate a channel, from the means of all channels.

    With z the mean of x over its positions and r the reduction::

        y = x · sigmoid(W₂ relu(W₁ z + b₁) + b₂),   W₁ (C/r, C), W₂ (C, C/r)

    The arithmetic is in float32, in float64 where x is float64.

    Attributes:
        reduction: r; the narrow layer has ⌊C/r⌋ numbers, at least one.
        dtype: if given, x is cast to it and the result has it; else x's.
        param_dtype: the parameters' dtype.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from prm_flax.attention import SE
        >>> x = jnp.ones((2, 8, 8, 64))
        >>> se = SE(reduction=16)
        >>> variables = se.init(jax.random.key(0), x)
        >>> variables["params"]["fc_0"]["kernel"].shape
        (64, 4)
        >>> se.apply(variables, x).shape
        (2, 8, 8, 64)

    Reference: Hu et al., CVPR 2018, equations 2 to 4.
    """

    reduction: int = 16
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, train: bool = False, extent=None):
        """Gates x (b, h, w, C), within an extent (b, 2); `train` changes nothing."""
        check_positive(reduction=self.reduction)
        x, dtype = enter(x, self.dtype, extent=extent)
        z = GlobalAveragePool()(x, extent)
        z = two_dense(z, self.reduction, ("fc_0", "fc_2"), self.param_dtype)
        gate = jax.nn.sigmoid(z)[:, None, None]
        return (x * gate).astype(dtype)
