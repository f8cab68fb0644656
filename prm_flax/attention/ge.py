"""GE-θ⁻, Gather-Excite without parameters.

Paper: J. Hu, L. Shen, S. Albanie, G. Sun, A. Vedaldi, "Gather-Excite: Exploiting
Feature Context in Convolutional Neural Networks", NeurIPS 2018, section 3.
Source: github.com/hujie-frank/GENet. Deviation: none known; window, stride and padding
of the pool are from the authors' description of their networks.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from prm_flax.attention.common import check_positive, enter
from prm_flax.layers.explicit import on_whole_maps


class GE(nn.Module):
    """Gather-Excite: a gate from the mean around each place; no parameters.

    Extent 0 gathers over the whole map, extent e > 0 over windows::

        y = x · sigmoid(mean of x over all positions)                        (e = 0)
        y = x · sigmoid(enlarged(average pool of x))                         (e > 0)

    The pool has windows of 2e - 1, stride e and padding e - 1, which its means do not
    count; ⌈h/e⌉ × ⌈w/e⌉ means are enlarged to h × w by repeating the nearest,
    ⌊i ⌈h/e⌉ / h⌋ in row i. The arithmetic is in float32, in float64 where x is float64.

    Attributes:
        extent: e, pixels; 0 for all.
        dtype: if given, x is cast to it and the result has it; else x's.

    Example:
        >>> import jax.numpy as jnp
        >>> from prm_flax.attention import GE
        >>> x = jnp.ones((2, 8, 8, 64))
        >>> GE(extent=4).apply({}, x).shape
        (2, 8, 8, 64)

    Reference: Hu et al., NeurIPS 2018, sections 2 and 3.
    """

    extent: int = 0
    dtype: Any = None

    @nn.compact
    def __call__(self, x, train: bool = False):
        """Gates x (b, h, w, C); `train` changes nothing here."""
        if self.extent != 0:
            check_positive(extent=self.extent)
        x, dtype = enter(x, self.dtype)
        if self.extent == 0:
            context = x.mean((1, 2), keepdims=True)
        else:
            context = on_whole_maps(lambda x: windows(x, self.extent), x)(x)
        return (x * jax.nn.sigmoid(context)).astype(dtype)


def windows(x: Float[Array, "b h w c"], extent: int) -> Float[Array, "b h w c"]:
    """Around each place the mean over its window."""
    return enlarged(window_means(x, extent), *x.shape[1:3])


def window_means(
    x: Float[Array, "b h w c"], extent: int
) -> Float[Array, "b rows columns c"]:
    """Means over windows 2e - 1, e apart; what lies outside of x is not counted."""
    window, stride, pad = 2 * extent - 1, extent, (extent - 1, extent - 1)
    sums = nn.pool(x, 0.0, lax.add, (window, window), (stride, stride), (pad, pad))
    rows, columns = (_covered(length, extent) for length in x.shape[1:3])
    return sums / jnp.outer(rows, columns)[None, ..., None].astype(x.dtype)


def _covered(length: Any, extent: int) -> Int[Array, "windows"]:
    """How many of `length` pixels each window covers."""
    middle = jnp.arange((length - 1) // extent + 1) * extent
    first = jnp.maximum(middle - extent + 1, 0)
    last = jnp.minimum(middle + extent - 1, length - 1)
    return last - first + 1


def enlarged(
    x: Float[Array, "b rows columns c"], h: Any, w: Any
) -> Float[Array, "b h w c"]:
    """Row i of h takes row ⌊i·rows/h⌋, columns alike."""
    rows, columns = x.shape[1:3]
    return x[:, jnp.arange(h) * rows // h][:, :, jnp.arange(w) * columns // w]
