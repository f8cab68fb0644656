"""GE-θ⁻, Gather-Excite without parameters.

Paper: J. Hu, L. Shen, S. Albanie, G. Sun, A. Vedaldi, "Gather-Excite: Exploiting
Feature Context in Convolutional Neural Networks", NeurIPS 2018, section 3.
Source: github.com/hujie-frank/GENet. Deviation: none known; window, stride and padding
of the pool are from the authors' description of their networks.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from prm_flax.attention.common import check_positive, enter
from prm_flax.layers.basic import global_mean
from prm_flax.layers.explicit import on_whole_maps

# Rows and columns of maps: two numbers, or two arrays (b, 1).
Lengths = tuple[Any, Any]


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
    def __call__(self, x, train: bool = False, extent=None):
        """Gates x (b, h, w, C), within an `extent` (b, 2); `train` changes nothing."""
        if self.extent != 0:
            check_positive(extent=self.extent)
        x, dtype = enter(x, self.dtype, extent=extent)
        if self.extent == 0:
            context = global_mean(x, extent)[:, None, None]
        else:
            gather = functools.partial(windows, extent=self.extent)
            context = on_whole_maps(gather, x)(x, extent)
        return (x * jax.nn.sigmoid(context)).astype(dtype)


def windows(
    x: Float[Array, "b h w c"], sizes: Int[Array, "b 2"] | None, *, extent: int
) -> Float[Array, "b h w c"]:
    """Around each place the mean over its window.

    Args:
        x: 0 outside of its size.
        sizes: rows and columns of each map that are its image's; None for all. What is
            outside has any numbers in the result.
        extent: e.
    """
    h, w = x.shape[1:3]
    if sizes is None:
        return enlarged(window_means(x, (h, w), extent), (h, w), (h, w), extent)
    # At least 1, so that a map of no size has numbers, too.
    lengths = tuple(jnp.maximum(sizes, 1).T[..., None])
    return enlarged(window_means(x, lengths, extent), lengths, (h, w), extent)


def window_means(
    x: Float[Array, "b h w c"], lengths: Lengths, extent: int
) -> Float[Array, "b rows columns c"]:
    """Means over windows 2e - 1, e apart; what lies outside a map is not counted."""
    window, stride, pad = 2 * extent - 1, extent, (extent - 1, extent - 1)
    sums = nn.pool(x, 0.0, lax.add, (window, window), (stride, stride), (pad, pad))
    rows, columns = (
        _covered(length, count, extent)
        for length, count in zip(lengths, sums.shape[1:3], strict=True)
    )
    counts = rows[:, :, None] * columns[:, None]
    return sums / counts[..., None].astype(x.dtype)


def _covered(length: Any, count: Any, extent: int) -> Int[Array, "#b count"]:
    """How many of `length` pixels each of the windows covers, at least 1."""
    middle = (jnp.arange(count) * extent)[None]
    first = jnp.maximum(middle - extent + 1, 0)
    last = jnp.minimum(middle + extent - 1, length - 1)
    return jnp.maximum(last - first + 1, 1)


def enlarged(
    x: Float[Array, "b rows columns c"],
    lengths: Lengths,
    size: tuple[Any, Any],
    extent: int,
) -> Float[Array, "b h w c"]:
    """Row i of a map of h rows takes its mean ⌊i ⌈h/e⌉ / h⌋, columns alike."""
    for axis, (length, count) in enumerate(zip(lengths, size, strict=True), start=1):
        means = (length - 1) // extent + 1
        if not isinstance(length, jax.Array):  # alike for all maps
            x = jnp.take(x, jnp.arange(count) * means // length, axis=axis)
            continue
        nearest = jnp.arange(count)[None] * means // length
        nearest = jnp.minimum(nearest, x.shape[axis] - 1)
        nearest = jnp.expand_dims(nearest, (3 - axis, 3))
        x = jnp.take_along_axis(x, nearest, axis=axis)
    return x
