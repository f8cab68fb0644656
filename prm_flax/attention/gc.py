"""GC, the Global Context block.

Paper: Y. Cao, J. Xu, S. Lin, F. Wei, H. Hu, "GCNet: Non-local Networks Meet
Squeeze-Excitation Networks and Beyond", ICCV workshops 2019, section 3.4.
Source: github.com/xvjiarui/GCNet. Deviation: at least four planes, see `LEAST_PLANES`;
ResNet-18 to -152 have four or more anyway.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from prm_flax.attention.common import check_positive, enter, reduced
from prm_flax.layers.basic import ReLU, kaiming_normal
from prm_flax.layers.extent import cut, inside

# The layer norm of one number is 0, of two their order: they would tell nothing of x.
LEAST_PLANES = 4


class GC(nn.Module):
    """Global Context: adds to every position what attention gathers from all.

    Over the positions i, with LN the layer norm over C/r planes::

        a = softmax(w·x_i + b)                     (over i)
        z = Σ_i a_i x_i
        y_i = x_i + W₂ relu(LN(W₁ z + b₁)) + b₂

    W₂ and b₂ start at 0, so that at first y = x. b moves no a, and is there for the
    weights' sake. The arithmetic is in float32, in float64 where x is float64.

    Attributes:
        reduction: r; there are ⌊C/r⌋ planes, at least four.
        dtype: if given, x is cast to it and the result has it; else x's.
        param_dtype: the parameters' dtype.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from prm_flax.attention import GC
        >>> x = jnp.ones((2, 8, 8, 64))
        >>> gc = GC(reduction=16)
        >>> variables = gc.init(jax.random.key(0), x)
        >>> bool((gc.apply(variables, x) == x).all())
        True

    Reference: Cao et al., ICCV workshops 2019, equation 5.
    """

    reduction: int = 16
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, train: bool = False, extent=None):
        """Adds its context to x (b, h, w, C), within an extent (b, 2)."""
        check_positive(reduction=self.reduction)
        x, dtype = enter(x, self.dtype, extent=extent)
        channels = x.shape[-1]
        planes = max(reduced(channels, self.reduction), LEAST_PLANES)
        scores = self._conv(x, 1, "conv_mask", kaiming_normal)
        if extent is not None:
            within = inside(extent, *x.shape[1:3])
            scores = jnp.where(within, scores, jnp.finfo(scores.dtype).min)
        z = attended(x, scores)
        z = self._conv(z, planes, "channel_add_conv_0", kaiming_normal)
        z = _LayerNorm(self.param_dtype, name="channel_add_conv_1")(z)
        z = ReLU()(z)
        zeros = nn.initializers.zeros
        y = x + self._conv(z, channels, "channel_add_conv_3", zeros)
        return cut(y, extent).astype(dtype)

    def _conv(self, x, features: int, name: str, kernel_init):
        """1×1 with bias: what counts as a convolution in the paper's counter."""
        return nn.Conv(
            features,
            (1, 1),
            dtype=x.dtype,
            param_dtype=self.param_dtype,
            kernel_init=kernel_init,
            name=name,
        )(x)


class _LayerNorm(nn.Module):
    param_dtype: Any
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, z: Float[Array, "b 1 1 c"]) -> Float[Array, "b 1 1 c"]:
        # The axes of length one are in the shape, as in PyTorch's.
        init, shape = nn.initializers, z.shape[1:]
        scale = self.param("scale", init.ones, shape, self.param_dtype)
        bias = self.param("bias", init.zeros, shape, self.param_dtype)
        scale, bias = (leaf.astype(z.dtype)[None] for leaf in (scale, bias))
        centred = z - z.mean(-1, keepdims=True)
        variance = jnp.square(centred).mean(-1, keepdims=True)
        return centred * lax.rsqrt(variance + self.epsilon) * scale + bias


def attended(
    x: Float[Array, "b h w c"], scores: Float[Array, "b h w 1"]
) -> Float[Array, "b 1 1 c"]:
    """The mean of x over positions, weighted by the softmax of the scores."""
    weights = jax.nn.softmax(scores, axis=(1, 2))
    # No matrix product: an accelerator may round its operands to bfloat16.
    return (weights * x).sum((1, 2), keepdims=True)
