"""The pieces of PRM whose plain formula is unsafe, made safe.

Each equals its formula wherever that is defined, and is differentiable forward and
backward with finite derivatives everywhere.
"""

import math
from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int32

from prm_flax.prm.groups import group_sum

# Added to σ, eq. 7.
SIGMA_EPSILON = 1e-5
# |d| below this acts as this. The encoding is then a spike of one pixel whatever d
# is, and 1/d² (in the derivative) still fits float32.
SMALLEST_D = 1e-12
# exp(-½·20²) is below the smallest float32; beyond it only the square could overflow.
LARGEST_DISTANCE = 20.0


def absolute(u: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """|u| with derivative 0 at 0 (jnp.abs has 1 there, the official code 0)."""
    return u * lax.stop_gradient(jnp.sign(u))


def norm(
    x: Float[Array, "*b c"], total: Callable[[Array], Array] = group_sum
) -> Float[Array, "*b"]:
    """Euclidean norm over the last axis, with derivative 0 at the zero vector."""
    square = total(x * x)
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)


def mean(x: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
    """Mean over `axis` (kept), exact for constant x.

    The first element is subtracted and added again, so that equal elements give
    their own value, not one a rounding away from it.
    """
    first = lax.stop_gradient(lax.slice_in_dim(x, 0, 1, axis=axis))
    return first + jnp.mean(x - first, axis=axis, keepdims=True)


def normalized(scores: Float[Array, "*b"], ddof: int, axis: int) -> Float[Array, "*b"]:
    """(S - μ) / (σ + 1e-5) over `axis`, eqs. 6 and 7.

    Args:
        scores: S.
        ddof: σ divides by n - ddof; a single position has σ = 0 with both.
        axis: the axis of the n positions.

    Returns:
        The normalised scores; 0 where S is constant, with derivative
        1e5·(dS - dμ), that is with σ taken as constant, never NaN.
    """
    centred = scores - mean(scores, axis)
    # Squares of a spread near 1e-24 (or 1e24) leave float32: measure in units of
    # the largest deviation.
    largest = lax.stop_gradient(jnp.max(jnp.abs(centred), axis=axis, keepdims=True))
    spread = largest > jnp.finfo(scores.dtype).tiny
    unit = jnp.where(spread, largest, 1.0)
    square = jnp.sum(jnp.square(centred / unit), axis=axis, keepdims=True)
    variance = square / max(scores.shape[axis] - ddof, 1)
    sigma = unit * jnp.sqrt(jnp.where(spread, variance, 1.0))
    return centred / (jnp.where(spread, sigma, 0.0) + SIGMA_EPSILON)


def position_encoding(
    query: Int32[Array, "*b g 2"],
    theta: Float[Array, "2"],
    d: Float[Array, ""],
    size: tuple[int, int],
) -> Float[Array, "*b n g"]:
    """D of eq. 5: the mean over both axes of a Gaussian density of the distance.

    A row's term does not depend on the column: h + w exponentials, not 2·h·w.

    Args:
        query: (..., g, 2) int32, row and column of the query positions.
        theta: (2,) scale of the row and of the column distance.
        d: () width; negative as eq. 5 is written, 0 counts as 1e-12.
        size: (h, w) in pixels.

    Returns:
        (..., h·w, g) in theta's dtype.
    """
    h, w = size
    sign = jnp.where(d < 0, -1.0, 1.0).astype(d.dtype)
    d = jnp.where(jnp.abs(d) < SMALLEST_D, sign * SMALLEST_D, d)
    rows = _density(query[..., None, :, 0], h, theta[0], d)
    columns = _density(query[..., None, :, 1], w, theta[1], d)
    both = (rows[..., :, None, :] + columns[..., None, :, :]) / 2
    return both.reshape(*both.shape[:-3], h * w, both.shape[-1])


def _density(
    query: Int32[Array, "*b 1 g"],
    length: int,
    theta: Float[Array, ""],
    d: Float[Array, ""],
) -> Float[Array, "*b n g"]:
    """(..., 1, g) int32 -> (..., length, g): one axis's term of eq. 5."""
    # Integers: bfloat16 cannot tell neighbours apart beyond pixel 256.
    pixel = lax.broadcasted_iota(jnp.int32, (length, 1), 0)
    distance = theta * jnp.abs(pixel - query).astype(theta.dtype) / d
    distance = jnp.clip(distance, -LARGEST_DISTANCE, LARGEST_DISTANCE)
    return jnp.exp(-0.5 * jnp.square(distance)) / (d * math.sqrt(2 * math.pi))
