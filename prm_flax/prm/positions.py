"""Sums, means and maxima over positions, each platform's own way.

Linear maps with derivatives both ways and batches; x is (..., n, g, c):

    everywhere:   (..., 1, g, c) -> (..., n, g, c)      x_i = v
    position_sum: (..., n, g, c) -> (..., 1, g, c)      v = Σ_i x_i
    apart:        the identity

XLA's CPU compiler merges a reduction with all that stands before and after it, and
writes every broadcast within out in full: PRM's backward pass at 28×28×512 took 3.4
times as long. There `apart` is a comparison that keeps the two from being merged, and
sums and maxima are taken of slices first, which are read as they are made.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int32

from prm_flax.prm.groups import group_sum
from prm_flax.prm.linear import array_map, linear_map

# Slices a sum is made of, at most: beyond about 15 uses of a number with different
# places XLA computes it once and stores it.
SLICES = 7


def everywhere(v: Float[Array, "*b 1 g c"], n: int) -> Float[Array, "*b {n} g c"]:
    """The same at each of n positions."""
    return _everywhere.bind(v, n=n)


def position_sum(x: Float[Array, "*b n g c"]) -> Float[Array, "*b 1 g c"]:
    """The sum over positions."""
    return _sum.bind(x)


def position_mean(x: Float[Array, "*b n g c"]) -> Float[Array, "*b 1 g c"]:
    """The mean over positions, exact for constant x, as `numerics.mean` is."""
    first = lax.stop_gradient(x[..., :1, :, :])
    return first + position_sum(x - first) / x.shape[-3]


def apart(v: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """The same numbers, not merged with what they are used for."""
    return _apart.bind(v)


def most_salient(x: Float[Array, "*b n g c"], width: int) -> Int32[Array, "*b g"]:
    """Each group's position of the largest sum over channels, the first on a tie.

    Args:
        x: features of n = h·width positions; it has no derivative.
        width: of a row.
    """
    return _most_salient.bind(lax.stop_gradient(x), width=width)


def _repeat(v, *, n):
    return jnp.broadcast_to(v, (*v.shape[:-3], n, *v.shape[-2:]))


def _total(x):
    return jnp.sum(x, axis=-3, keepdims=True)


def _total_of_slices(x):
    n = x.shape[-3]
    count = next(k for k in range(SLICES, 0, -1) if n % k == 0)
    total, *others = jnp.split(x, count, axis=-3)
    for other in others:
        total = total + other
    return _total(_compared(total))


def _same(v):
    return v


def _compared(v):
    """Itself; a number is unequal to itself only if it is no number."""
    return jnp.where(v == v, v, jnp.nan)


def _largest(x, *, width):
    return jnp.argmax(group_sum(x), axis=-2).astype(jnp.int32)


def _largest_of_rows(x, *, width):
    """The row of the largest sum by a maximum of each row, then the place in it."""
    *batch, n, g, c = x.shape
    sums = _compared(group_sum(x)).reshape(*batch, n // width, width, g)
    row = jnp.argmax(_compared(sums.max(axis=-2)), axis=-2)
    rows = x.reshape(*batch, n // width, width, g, c)
    found = jnp.take_along_axis(rows, row[..., None, None, :, None], axis=-4)
    column = jnp.argmax(group_sum(found)[..., 0, :, :], axis=-2)
    return (row * width + column).astype(jnp.int32)


_everywhere = linear_map(
    "everywhere", _repeat, lambda cotangent, v, *, n: position_sum(cotangent), "n"
)
_sum = linear_map(
    "position_sum",
    _total,
    lambda cotangent, x: everywhere(cotangent, x.aval.shape[-3]),
    cpu=_total_of_slices,
)
_apart = linear_map("apart", _same, lambda ct, v: apart(ct), cpu=_compared)
_most_salient = array_map("most_salient", _largest, "width", cpu=_largest_of_rows)
