"""The part of each padded map that is its image's own.

Images of several sizes share a batch by padding at the bottom and at the right. An
extent (..., 2) int32 says how many rows and columns of a map are an image's; what is
outside is kept at 0, as the border of a convolution is, and takes no part in means,
maxima and softmaxes. So an image's numbers do not depend on what it is padded to.
"""

from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

Extent = Int[Array, "*b 2"]


def inside(extent: Extent, h: Any, w: Any) -> Bool[Array, "*b h w 1"]:
    """Which positions of maps h × w are within their extent."""
    rows, columns = extent[..., 0, None, None, None], extent[..., 1, None, None, None]
    shape = *(1,) * (extent.ndim - 1), h, w, 1
    row = lax.broadcasted_iota(jnp.int32, shape, len(shape) - 3)
    column = lax.broadcasted_iota(jnp.int32, shape, len(shape) - 2)
    return (row < rows) & (column < columns)


def cut(x: Float[Array, "*b h w c"], extent: Extent | None) -> Float[Array, "..."]:
    """0 outside the extent, whatever was there; x where no extent is given."""
    if extent is None:
        return x
    return jnp.where(inside(extent, *x.shape[-3:-1]), x, jnp.zeros((), x.dtype))


def strided(extent: Extent | None, stride: int) -> Extent | None:
    """The extent after a layer of some stride whose maps are ⌈h/stride⌉ × ⌈w/stride⌉.

    Example:
        >>> strided(jnp.array([[5, 8]]), 2).tolist()
        [[3, 4]]
    """
    return extent if extent is None or stride == 1 else -(-extent // stride)


def positions_within(extent: Extent | None, h: Any, w: Any) -> Any:
    """Which of the n = h·w positions are inside, (..., n, 1) bool; None for all."""
    if extent is None:
        return None
    within = inside(extent, h, w)
    return within.reshape(*within.shape[:-3], h * w, 1)


def counted(
    within: Bool[Array, "..."], axis: Any, dtype: Any, ddof: int = 0
) -> Float[Array, "..."]:
    """How many positions count along `axis` (kept), less ddof; at least 1.

    At least 1, so that a map of no position of its own has numbers, too.
    """
    count = jnp.sum(within, axis=axis, keepdims=True, dtype=jnp.int32) - ddof
    return jnp.maximum(count, 1).astype(dtype)


def require_fixed(train: bool, extent: Extent | None) -> None:
    """Raises ValueError where a batch norm would count what is outside an extent."""
    if train and extent is not None:
        raise ValueError(
            "With an extent batch norms use their running statistics: those of the "
            "batch would count the padding. Call it with train=False."
        )
