"""PRM in the form that XLA's CPU compiler makes a fast program of.

It is the definition with five of its operations written in another way. XLA merges a
reduction with all that stands before and after it, so that the work before it is done
again for each number after it, and writes every broadcast within out in full. And it
reduces an axis as short as a group's channels one number at a time. Therefore:

    channel_sum        a short axis is summed slice by slice, in vector instructions
    channel_repeat     its transpose
    position_sum       a sum of slices is reduced, which are read as they are made
    position_repeat    its transpose
    unfused            a comparison that keeps a reduction out of what follows it; its
                       own transpose

A derivative would be of another form (the transpose of a slice is a padding), so each
is an operation of its own whose transpose is written down; every transformation of JAX
takes them.

`lax.optimization_barrier` in the place of `unfused` changes nothing: XLA's CPU pipeline
takes barriers out (its pass `cse_barrier_expander`) before it merges anything. The
compiled program holds none, and took as long as one that has nothing in its place: 4
times as long as with the comparison, at 28×28×512 forward and backward.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int32

from prm_flax.layers.extent import counted, cut, positions_within
from prm_flax.prm.checks import check_extent, check_input
from prm_flax.prm.functional import (
    PRMParams,
    in_core,
    normalized,
    position_encoding,
    quotient,
)
from prm_flax.prm.kernels.linear import linear
from prm_flax.prm.similarity import SIMILARITIES

# Channels of a group, at most, that are summed slice by slice: a reduction of more is
# as fast. At 4 channels the slices are 12 times as fast.
SLICED_CHANNELS = 8
# Slices that a sum over positions is made of, at most: beyond about 15 uses of a number
# with different places XLA computes it once and stores it.
POSITION_SLICES = 7


def recalibrate(
    x: jax.Array,
    params: PRMParams,
    *,
    similarity: str = "dot",
    ddof: int = 0,
    position: bool = True,
    normalize: bool = True,
    extent: jax.Array | None = None,
) -> jax.Array:
    """The definition's y; arguments as there."""
    params = PRMParams(*(jnp.asarray(leaf) for leaf in params))
    check_input(x, params, None, similarity, ddof)
    check_extent(x, extent)
    *batch, h, w, channels = x.shape
    g = params.alpha.shape[0]
    core, (alpha, beta, lam, xi, theta, d) = in_core(params, x)
    phi = functools.partial(SIMILARITIES[similarity], total=channel_sum)

    xs = cut(x, extent).astype(core).reshape(*batch, h * w, channels)
    xs = xs.reshape(*batch, h * w, g, channels // g)
    within = positions_within(extent, h, w)
    index = query_index(lax.stop_gradient(xs), w, within)
    query = unfused(jnp.take_along_axis(xs, index[..., None, :, None], axis=-3))
    context = unfused(position_mean(xs, within))

    sim_query, sim_context = (
        phi(xs, position_repeat(v, h * w)) for v in (query, context)
    )
    if position:
        row_column = jnp.stack([index // w, index % w], axis=-1)
        sim_query = sim_query * position_encoding(row_column, theta, d, (h, w))
    scores = alpha * sim_query + beta * sim_context
    normed = normalized(scores, ddof, axis=-2, within=within) if normalize else scores
    gate = jax.nn.sigmoid(lam * normed + xi)
    y = (xs * channel_repeat(gate, channels // g)).reshape(*batch, h * w, channels)
    return cut(y.reshape(x.shape), extent).astype(x.dtype)


def channel_sum(x: Float[Array, "*b c"]) -> Float[Array, "*b"]:
    """The sum over the last axis."""
    return _channel_sum(x, x.shape[-1])


def channel_repeat(s: Float[Array, "*b"], channels: int) -> Float[Array, "*b c"]:
    """Each number on so many channels of a new last axis."""
    return _channel_repeat(s, channels)


def position_sum(x: Float[Array, "*b n g c"]) -> Float[Array, "*b 1 g c"]:
    """The sum over positions."""
    return _position_sum(x, x.shape[-3])


def position_repeat(v: Float[Array, "*b 1 g c"], n: int) -> Float[Array, "*b n g c"]:
    """The same at each of n positions."""
    return _position_repeat(v, n)


def position_mean(
    x: Float[Array, "*b n g c"], within: Bool[Array, "*b n 1"] | None = None
) -> Float[Array, "*b 1 g c"]:
    """The mean over positions, of those within; exact where `functional.mean` is."""
    first = lax.stop_gradient(x[..., :1, :, :])
    deviation, count = x - first, x.shape[-3]
    if within is not None:
        deviation = jnp.where(within[..., None], deviation, 0)
        count = counted(within[..., None], -3, x.dtype)
    return first + quotient(position_sum(deviation), count)


def unfused(v: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """The same numbers, and cotangents, not merged with what they are used for."""
    return _unfused(v, 0)


def query_index(
    x: Float[Array, "*b n g c"],
    width: int,
    within: Bool[Array, "*b n 1"] | None = None,
) -> Int32[Array, "*b g"]:
    """Each group's position of the largest sum over channels, the first on a tie.

    The row of the largest sum by a maximum of each row, then the place in that row.

    Args:
        x: features of n = h·width positions, without derivative.
        width: of a row.
        within: which positions count; x is 0 at the others.
    """
    *batch, n, g, c = x.shape
    sums = _compared(_sum_channels(x))
    if within is not None:
        sums = jnp.where(within, sums, -jnp.inf)
    sums = sums.reshape(*batch, n // width, width, g)
    row = jnp.argmax(_compared(sums.max(axis=-2)), axis=-2)
    rows = x.reshape(*batch, n // width, width, g, c)
    found = jnp.take_along_axis(rows, row[..., None, None, :, None], axis=-4)
    found = _sum_channels(found)[..., 0, :, :]
    if within is not None:  # the rows within begin alike: they are those of the first
        first = within.reshape(*within.shape[:-2], n // width, width, 1)[..., 0, :, :]
        found = jnp.where(first, found, -jnp.inf)
    column = jnp.argmax(found, axis=-2)
    return (row * width + column).astype(jnp.int32)


def _compared(v):
    """Itself; a number is unequal to itself only if it is no number."""
    return jnp.where(v == v, v, jnp.nan)


def _sum_channels(x):
    c = x.shape[-1]
    if c > SLICED_CHANNELS:
        return x.sum(-1)
    return functools.reduce(jnp.add, (x[..., k] for k in range(c)))


def _repeat_channels(s, channels):
    return jnp.broadcast_to(s[..., None], (*s.shape, channels))


def _sum_positions(x):
    n = x.shape[-3]
    count = next(k for k in range(POSITION_SLICES, 0, -1) if n % k == 0)
    slices = jnp.split(x, count, axis=-3)
    total = functools.reduce(jnp.add, slices)
    return _compared(total).sum(-3, keepdims=True)


def _repeat_positions(v, n):
    return jnp.broadcast_to(v, (*v.shape[:-3], n, *v.shape[-2:]))


# Each with its transpose, which is another of them.
_channel_sum = linear("channel_sum", lambda x, _: _sum_channels(x), channel_repeat)
_channel_repeat = linear(
    "channel_repeat", _repeat_channels, lambda ct, _: channel_sum(ct)
)
_position_sum = linear("position_sum", lambda x, _: _sum_positions(x), position_repeat)
_position_repeat = linear(
    "position_repeat", _repeat_positions, lambda ct, _: position_sum(ct)
)
_unfused = linear("unfused", lambda v, _: _compared(v), lambda ct, _: unfused(ct))
