"""PRM, the Position-Aware Recalibration Module: the one definition.

Every other form of PRM (Linen, NNX, fast paths) calls or equals `recalibrate`. Where a
plain formula is unsafe, the function for it says what it does instead; each equals its
formula wherever that is defined, and has finite derivatives, forward and backward.

Reference: X. Ma, S. Fu, "Position-Aware Recalibration Module: Learning From
Feature Semantics and Feature Position", IJCAI 2020, section 3.
"""

import functools
import math
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import initializers
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float, Int32

from prm_flax.layers.explicit import on_whole_maps, shared_by
from prm_flax.layers.extent import counted, cut, positions_within
from prm_flax.prm.checks import check_extent, check_input
from prm_flax.prm.similarity import SIMILARITIES

# Added to σ, eq. 7.
SIGMA_EPSILON = 1e-5
# |d| below this acts as this. The encoding is then a spike of one pixel whatever d
# is, and 1/d² (in the derivative) still fits float32.
SMALLEST_D = 1e-12
# exp(-½·20²) is below the smallest float32; beyond it only the square could overflow.
LARGEST_DISTANCE = 20.0


class PRMParams(NamedTuple):
    """The 4g + 3 parameters of a PRM with g groups.

    Attributes:
        alpha: (g,) weight of the similarity to the query position (eq. 1).
        beta: (g,) weight of the similarity to the global context (eq. 1).
        lam: (g,) scale λ of the normalised scores (eq. 8).
        xi: (g,) shift ξ of the normalised scores (eq. 8).
        theta: (2,) scale of the row and of the column distance (eq. 5).
        d: () width of the position encoding, in scaled pixels (eq. 5).
    """

    alpha: jax.Array
    beta: jax.Array
    lam: jax.Array
    xi: jax.Array
    theta: jax.Array
    d: jax.Array


# Where the parameters start: y = x·sigmoid(1), whatever x is.
INITIALIZERS: MappingProxyType[str, initializers.Initializer] = MappingProxyType(
    {
        "alpha": initializers.zeros,
        "beta": initializers.ones,
        "lam": initializers.zeros,
        "xi": initializers.ones,
        "theta": initializers.uniform(1.0),
        "d": initializers.ones,
    }
)


def shapes(groups: int) -> dict[str, tuple[int, ...]]:
    """The shape of each parameter."""
    g = (groups,)
    return {"alpha": g, "beta": g, "lam": g, "xi": g, "theta": (2,), "d": ()}


jax.export.register_namedtuple_serialization(
    PRMParams, serialized_name="prm_flax.PRMParams"
)


class PRMMaps(NamedTuple):
    """What a PRM looked at.

    Attributes:
        query: (..., g, 2) int32, row and column of each group's query position.
        position: (..., h, w, g) D, the position encoding (eq. 5).
        sim_query: (..., h, w, g) φ(x, q), the similarity to the query.
        sim_context: (..., h, w, g) φ(x, z), the similarity to the global context.
        scores: (..., h, w, g) S of eq. 1, before the normalisation of eq. 7.
        gate: (..., h, w, g) in (0, 1), what x is multiplied by.
    """

    query: jax.Array
    position: jax.Array
    sim_query: jax.Array
    sim_context: jax.Array
    scores: jax.Array
    gate: jax.Array


def recalibrate(
    x: jax.Array,
    params: PRMParams,
    *,
    groups: int | None = None,
    similarity: str = "dot",
    ddof: int = 0,
    position: bool = True,
    normalize: bool = True,
    extent: jax.Array | None = None,
    return_maps: bool = False,
) -> jax.Array | tuple[jax.Array, PRMMaps]:
    """Gates each group of channels by likeness to its query, distance and context.

    Per sample and group of C/g channels, over the N = h·w positions i::

        q   = x at p_q,  p_q = argmax_i mean_c x_i^c        (first on a tie)
        z   = mean_i x_i
        D_i = mean_a exp(-½ (θ_a |p_i - p_q|_a / d)²) / (d √(2π))       (eq. 5)
        S_i = α φ(x_i, q) D_i + β φ(x_i, z)                             (eq. 1)
        T_i = (S_i - μ) / (σ + 1e-5)                              (eqs. 6 and 7)
        y_i = sigmoid(λ T_i + ξ) x_i                              (eqs. 1 and 8)

    Gradients flow through q and z; p_q is a constant. The arithmetic is in
    float32, in float64 where x is float64. Where the formula has no value or no
    derivative (σ = 0, a zero vector under the cosine, d = 0) the result is finite
    and the derivative 0: `prm_flax/prm/README.md` lists every such place.

    Args:
        x: (..., h, w, C) features, any number of leading batch axes, floating.
        params: the parameters, g = len(params.alpha).
        groups: g, to have it checked against the parameters.
        similarity: φ: "dot" (eq. 4), "l1" (eq. 3) or "cosine" (eq. 2).
        ddof: σ divides by N - ddof: 0 is the paper's, 1 the official code's.
        position: False leaves the position encoding out (D = 1).
        normalize: False leaves eq. 7 out (T = S).
        extent: (..., 2) int32, the rows and columns of each padded map that are its
            image's: p_q, z, μ and σ are over the positions inside, y and the maps are 0
            outside.
        return_maps: also return the `PRMMaps`.

    Returns:
        y of x's shape and dtype; with `return_maps` the pair (y, maps).

    Raises:
        ValueError: an unknown similarity, a wrong ddof, shapes that do not fit.
        TypeError: x is not floating.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from prm_flax import PRMParams, recalibrate
        >>> one, zero = jnp.ones(2), jnp.zeros(2)
        >>> params = PRMParams(zero, one, zero, one, jnp.ones(2), jnp.ones(()))
        >>> x = jnp.ones((1, 4, 4, 8))
        >>> bool(jnp.allclose(recalibrate(x, params), x * jax.nn.sigmoid(1.0)))
        True
    """
    params = PRMParams(*(jnp.asarray(leaf) for leaf in params))
    check_input(x, params, groups, similarity, ddof)
    check_extent(x, extent)
    run = functools.partial(
        _recalibrate,
        phi=SIMILARITIES[similarity],
        ddof=ddof,
        position=position,
        normalize=normalize,
        return_maps=return_maps,
    )
    split = _like(shared_by(x)) if return_maps else None
    return on_whole_maps(run, x, split)(x, params, extent)


def _recalibrate(x, params, extent, *, phi, ddof, position, normalize, return_maps):
    """The same after all checks."""
    *batch, h, w, channels = x.shape
    g = params.alpha.shape[0]
    core, (alpha, beta, lam, xi, theta, d) = in_core(params, x)

    # In two steps: a mesh of explicit axes refuses to merge and split at once.
    xs = cut(x, extent).astype(core).reshape(*batch, h * w, channels)
    xs = xs.reshape(*batch, h * w, g, channels // g)
    within = positions_within(extent, h, w)
    # The sum has the mean's argmax; dividing could only round two values to a tie.
    salience = lax.stop_gradient(xs).sum(-1)
    if within is not None:
        salience = jnp.where(within, salience, -jnp.inf)
    index = jnp.argmax(salience, axis=-2).astype(jnp.int32)
    query = jnp.take_along_axis(xs, index[..., None, :, None], axis=-3)
    context = mean(xs, axis=-3, within=within)

    sim_query, sim_context = phi(xs, query), phi(xs, context)
    row_column = jnp.stack([index // w, index % w], axis=-1)
    encoding = (
        position_encoding(row_column, theta, d, (h, w))
        if position
        else jnp.ones_like(sim_query)
    )
    scores = alpha * sim_query * encoding + beta * sim_context
    normed = normalized(scores, ddof, axis=-2, within=within) if normalize else scores
    gate = jax.nn.sigmoid(lam * normed + xi)

    y = (xs * gate[..., None]).reshape(*batch, h * w, channels)
    y = cut(y.reshape(x.shape), extent).astype(x.dtype)
    if not return_maps:
        return y
    maps = (encoding, sim_query, sim_context, scores, gate)
    maps = (cut(m.reshape(*batch, h, w, g), extent) for m in maps)
    return y, PRMMaps(row_column, *maps)


def _like(spec: PartitionSpec) -> tuple[PartitionSpec, PRMMaps]:
    """How y and the maps are split where x is by `spec`."""
    *batch, _, _, channels = spec
    query: Any = PartitionSpec(*batch, channels, None)
    maps: Any = [spec] * 5
    return spec, PRMMaps(query, *maps)


def in_core(params: PRMParams, x: Any) -> tuple[Any, PRMParams]:
    """The dtype of the arithmetic, and in it the parameters, of x's axes but one."""
    core = jnp.float64 if x.dtype == jnp.float64 else jnp.float32
    *vectors, theta, d = (leaf.astype(core) for leaf in params)
    ones = (1,) * (x.ndim - 2)
    vectors = [vector.reshape(*ones, *vector.shape) for vector in vectors]
    return core, PRMParams(*[*vectors, theta, d])


def mean(
    x: Float[Array, "..."], axis: int, within: Bool[Array, "..."] | None = None
) -> Float[Array, "..."]:
    """Mean over `axis` (kept), exact for constant x and where it is 0.

    The first element is subtracted and added again, so that equal elements give
    their own value, not one a rounding away from it.

    Args:
        x: the numbers.
        axis: of the positions, negative.
        within: (..., n, 1) which positions count, the first among them; None for all.
    """
    first = lax.stop_gradient(lax.slice_in_dim(x, 0, 1, axis=axis))
    deviation, count = x - first, x.shape[axis]
    if within is not None:
        within = within.reshape(within.shape + (1,) * (-2 - axis))
        deviation = jnp.where(within, deviation, 0)
        count = counted(within, axis, x.dtype)
    return first + quotient(jnp.sum(deviation, axis=axis, keepdims=True), count)


def quotient(total: Float[Array, "*b"], count: Any) -> Float[Array, "*b"]:
    """The total divided by the count, rounded once.

    XLA multiplies by the rounded inverse of a constant instead, and numbers whose mean
    is 0 have one near 1e-8 then: beyond the cosine's ε it would be a direction.
    """
    divisor = jnp.asarray(count, total.dtype)
    return total / jnp.where(total == total, divisor, 1.0)


def normalized(
    scores: Float[Array, "*b"],
    ddof: int,
    axis: int,
    within: Bool[Array, "..."] | None = None,
) -> Float[Array, "*b"]:
    """(S - μ) / (σ + 1e-5) over `axis`, eqs. 6 and 7.

    Args:
        scores: S.
        ddof: σ divides by n - ddof; a single position has σ = 0 with both.
        axis: the axis of the n positions, negative.
        within: which positions count, as for `mean`; None for all.

    Returns:
        The normalised scores; 0 where a position does not count, and 0 where S is
        constant, with derivative
        1e5·(dS - dμ), that is with σ taken as constant, never NaN.
    """
    centred = scores - mean(scores, axis, within)
    if within is not None:
        centred = jnp.where(within, centred, 0)
    # Squares of a spread near 1e-24 (or 1e24) leave float32: measure in units of
    # the largest deviation.
    largest = lax.stop_gradient(jnp.max(jnp.abs(centred), axis=axis, keepdims=True))
    spread = largest > jnp.finfo(scores.dtype).tiny
    unit = jnp.where(spread, largest, 1.0)
    square = jnp.sum(jnp.square(centred / unit), axis=axis, keepdims=True)
    if within is None:
        count = scores.shape[axis] - ddof
        # A size that is a symbol (`jax.export`) cannot be compared while tracing.
        at_least_1 = max if isinstance(count, int) else jnp.maximum
        count = jnp.asarray(at_least_1(count, 1), scores.dtype)
    else:
        count = counted(within, axis, scores.dtype, ddof)
    variance = square / count
    sigma = unit * jnp.sqrt(jnp.where(spread, variance, 1.0))
    return centred / (jnp.where(spread, sigma, 0.0) + SIGMA_EPSILON)


def position_encoding(
    query: Int32[Array, "*b g 2"],
    theta: Float[Array, "2"],
    d: Float[Array, ""],
    size: tuple[Any, Any],
) -> Float[Array, "*b n g"]:
    """D of eq. 5: the mean over both axes of a Gaussian density of the distance.

    A row's term does not depend on the column: h + w exponentials, not 2·h·w.

    Args:
        query: (..., g, 2) int32, row and column of the query positions.
        theta: (2,) scale of the row and of the column distance.
        d: () width; negative as eq. 5 is written, 0 counts as 1e-12.
        size: (h, w) in pixels; numbers, or symbols of `jax.export`.

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
    length: Any,
    theta: Float[Array, ""],
    d: Float[Array, ""],
) -> Float[Array, "*b n g"]:
    """(..., 1, g) int32 -> (..., length, g): one axis's term of eq. 5."""
    # Integers: bfloat16 cannot tell neighbours apart beyond pixel 256.
    shape = *(1,) * (query.ndim - 2), length, 1
    pixel = lax.broadcasted_iota(jnp.int32, shape, query.ndim - 2)
    distance = theta * jnp.abs(pixel - query).astype(theta.dtype) / d
    distance = jnp.clip(distance, -LARGEST_DISTANCE, LARGEST_DISTANCE)
    return jnp.exp(-0.5 * jnp.square(distance)) / (d * math.sqrt(2 * math.pi))
