"""SGE, the Spatial Group-wise Enhance module.

Paper: X. Li, X. Hu, J. Yang, "Spatial Group-wise Enhance: Improving Semantic Feature
Learning in Convolutional Networks", arXiv:1905.09646, section 3.
Source: github.com/implus/PytorchInsight. Deviation from the paper, the authors' code's:
σ divides by N - 1. Deviation from that code: a single position has σ = 0, not NaN.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from prm_flax.attention.common import check_positive, enter
from prm_flax.layers.explicit import on_whole_maps
from prm_flax.layers.extent import positions_within
from prm_flax.prm import fast
from prm_flax.prm.functional import mean, normalized
from prm_flax.prm.similarity import dot


class SGE(nn.Module):
    """Spatial Group-wise Enhance: gates each group by likeness to its mean.

    Per sample and group of C/g channels, over the N = h·w positions i::

        S_i = x_i · mean_j x_j
        T_i = (S_i - μ) / (σ + 1e-5)              σ with 1/(N - 1)
        y_i = sigmoid(λ T_i + ξ) x_i

    It is PRM with the dot product, without the query point. At the start
    y = x·sigmoid(1): λ = 0, ξ = 1. The arithmetic is in float32, in float64 where x is
    float64.

    Attributes:
        groups: g; must divide the channels.
        dtype: if given, x is cast to it and the result has it; else x's.
        param_dtype: the parameters' dtype.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from prm_flax.attention import SGE
        >>> x = jnp.ones((2, 8, 8, 64))
        >>> sge = SGE(groups=8)
        >>> variables = sge.init(jax.random.key(0), x)
        >>> sge.apply(variables, x).shape
        (2, 8, 8, 64)

    Reference: Li et al., arXiv:1905.09646, section 3.
    """

    groups: int = 64
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, train: bool = False, extent=None):
        """Gates x (b, h, w, C), within an extent (b, 2); `train` changes nothing."""
        check_positive(groups=self.groups)
        x, dtype = enter(x, self.dtype, self.groups, extent)
        init, size = nn.initializers, (self.groups,)
        lam = self.param("lam", init.zeros, size, self.param_dtype).astype(x.dtype)
        xi = self.param("xi", init.ones, size, self.param_dtype).astype(x.dtype)
        return on_whole_maps(enhanced, x)(x, lam, xi, extent).astype(dtype)


def enhanced(
    x: Float[Array, "b h w C"],
    lam: Float[Array, "*g"],
    xi: Float[Array, "*g"],
    extent: Int[Array, "b 2"] | None,
) -> Float[Array, "b h w C"]:
    """Each group of channels times its gate; x is 0 outside its extent."""
    b, h, w, c = x.shape
    g = lam.shape[0]
    # In two steps: a mesh of explicit axes refuses to merge and split at once.
    groups = x.reshape(b, h * w, c).reshape(b, h * w, g, c // g)
    alike = likeness(groups, positions_within(extent, h, w))
    gate = jax.nn.sigmoid(lam[None, None] * alike + xi[None, None])
    return (groups * gate[..., None]).reshape(b, h * w, c).reshape(x.shape)


def likeness(
    x: Float[Array, "b n g c"], within: Bool[Array, "b n 1"] | None = None
) -> Float[Array, "b n g"]:
    """T: how much each position is like the mean of those within, normalised."""
    context = mean(x, axis=-3, within=within)
    scores = dot(x, context, total=fast.channel_sum())
    return normalized(scores, ddof=1, axis=-2, within=within)
