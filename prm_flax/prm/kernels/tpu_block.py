"""What both TPU kernels do with a block: positions × images × channels, on the chip.

A block is (h, w, b, l): all positions of b images and l channels, in the layout that
XLA itself gives to the features of convolutions on a TPU, images in sublanes and
channels in lanes. A sum over positions adds whole registers. A sum over a group's
channels is a product with a 0/1 matrix (l, l), which leaves the sum on each of the
group's lanes: so whatever belongs to a group is an array (b, l) that repeats itself in
its lanes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from prm_flax.prm.functional import SIGMA_EPSILON
from prm_flax.prm.kernels.distance import Density, density
from prm_flax.prm.kernels.options import Options
from prm_flax.prm.kernels.sums import position_mean
from prm_flax.prm.kernels.tpu_similarity import LANES_SIMILARITIES

Total = Callable[[jax.Array], jax.Array]


class Unpacked(NamedTuple):
    """The parameters: α, β, λ, ξ as (1, l), θ's two numbers and d as scalars."""

    alpha: jax.Array
    beta: jax.Array
    lam: jax.Array
    xi: jax.Array
    theta_row: jax.Array
    theta_column: jax.Array
    d: jax.Array


class Features:
    """A block's x, row by row of the map, which is affine in what the chip has of it.

    Args:
        ref: (h, w, b, l) the features.
        affine: (3, l) mean, factor and bias, or None where x is the features.
    """

    def __init__(self, ref, affine=None):
        self.ref = ref
        self.affine = None if affine is None else [affine[i : i + 1] for i in range(3)]

    def centred(self, row) -> jax.Array:
        """The features less the affine's mean, (w, b, l) float32."""
        assert self.affine is not None
        return self.ref[row].astype(jnp.float32) - self.affine[0]

    def narrow(self, row) -> jax.Array:
        """X (w, b, l) in the features' dtype, as a norm by itself would write it."""
        if self.affine is None:
            return self.ref[row]
        _, factor, bias = self.affine
        return (self.centred(row) * factor + bias).astype(self.ref.dtype)

    def wide(self, row) -> jax.Array:
        """X (w, b, l) in float32."""
        return self.narrow(row).astype(jnp.float32)

    def pull(self, dx: jax.Array) -> jax.Array:
        """The cotangent of the features, given that of x."""
        return dx if self.affine is None else dx * self.affine[1]


class Look(NamedTuple):
    """Query row and column (b, l) int32, query and context vectors (b, l)."""

    row: jax.Array
    column: jax.Array
    query: jax.Array
    context: jax.Array


class Moments(NamedTuple):
    """Mean (b, l) of the scores, 1/(σ + ε), and σ where it is not 0, else 0."""

    mean: jax.Array
    inverse: jax.Array
    sigma: jax.Array


def totals(channels: int, lanes: int, features: Any) -> Total:
    """(..., b, l) -> sums over groups of so many channels, on each of their lanes.

    A product with 0 and 1 in bfloat16 is exact, so a float32 number goes through the
    chip's matrix unit in pieces of 8 bits: three hold it whole, half the arithmetic of
    a product of float32; two are enough for features of 8 or 11 bits themselves.

    Args:
        channels: of a group.
        lanes: l.
        features: dtype of the features.
    """
    group = [
        lax.broadcasted_iota(jnp.int32, (lanes, lanes), i) // channels for i in (0, 1)
    ]
    same = (group[0] == group[1]).astype(jnp.bfloat16)
    pieces = 3 if features == jnp.float32 else 2

    def total(x):
        flat = x.reshape(-1, lanes)
        parts = _split(flat, 1 if x.dtype == jnp.bfloat16 else pieces)
        summed = sum(
            lax.dot_general(
                part,
                same,
                (((1,), (0,)), ((), ())),
                preferred_element_type=jnp.float32,
            )
            for part in parts
        )
        return jnp.reshape(summed, x.shape)

    return total


def _split(x: jax.Array, pieces: int) -> list[jax.Array]:
    """Numbers of bfloat16 whose sum is x, to 8 bits a piece."""
    parts = []
    for _ in range(pieces):
        parts.append(x.astype(jnp.bfloat16))
        x = x.astype(jnp.float32) - parts[-1].astype(jnp.float32)
    return parts


def over_rows(h: int, body: Callable, init):
    """`body(row, carry)` for each row of the map."""
    return lax.fori_loop(0, h, body, init)


def zeros(ref) -> jax.Array:
    """(b, l) of a block."""
    return jnp.zeros(ref.shape[2:], jnp.float32)


def look(features: Features, total: Total) -> Look:
    """Finds each group's query, the first position of the largest sum, and its mean."""
    h, w, *_ = features.ref.shape
    first = features.wide(0)[0]
    column = lax.broadcasted_iota(jnp.int32, features.ref.shape[1:], 0)

    def body(row, carry):
        best, found, rest = carry
        narrow = features.narrow(row)
        sums, x = total(narrow), narrow.astype(jnp.float32)
        top = sums.max(0)
        at = jnp.where(sums == top, column, w).min(0)
        here = row, at, jnp.where(column == at, x, 0.0).sum(0)
        better = (top > best) | (row == 0)
        found = tuple(
            jnp.where(better, new, old) for new, old in zip(here, found, strict=True)
        )
        return jnp.where(better, top, best), found, rest + (x - first).sum(0)

    zero = zeros(features.ref)
    at = zero.astype(jnp.int32)
    _, (row, column, query), rest = over_rows(h, body, (zero, (at, at, zero), zero))
    # The first is subtracted and added again: see `position_mean`.
    return Look(row, column, query, position_mean(first, rest, h * w))


def encoding(
    row, shape: tuple[int, ...], seen: Look, params: Unpacked
) -> tuple[Density, Density]:
    """D's terms at a row of the map: of the row (b, l), of the columns (w, b, l)."""
    columns = lax.broadcasted_iota(jnp.int32, shape, 0)
    down = jnp.abs(row - seen.row).astype(jnp.float32)
    across = jnp.abs(columns - seen.column).astype(jnp.float32)
    return (
        density(down, params.theta_row, params.d),
        density(across, params.theta_column, params.d),
    )


def nearness(row, shape, seen: Look, params: Unpacked, options: Options) -> jax.Array:
    """D at a row of the map."""
    if not options.position:
        return jnp.ones(shape, jnp.float32)
    down, across = encoding(row, shape, seen, params)
    return down.value + across.value


def score(
    features: Features,
    s_ref,
    seen: Look,
    params: Unpacked,
    total: Total,
    options: Options,
) -> None:
    """Writes the scores S."""
    phi = LANES_SIMILARITIES[options.similarity]

    def body(row, carry):
        x = features.wide(row)
        near = params.alpha * nearness(row, x.shape, seen, params, options)
        by_query = near * phi.summand(x, seen.query, total)
        by_context = params.beta * phi.summand(x, seen.context, total)
        s_ref[row] = total(by_query + by_context)
        return carry

    over_rows(s_ref.shape[0], body, 0)


def moments(s_ref, options: Options) -> Moments:
    """Of the scores, in units of their largest deviation: see `normalized`."""
    h, w, *_ = s_ref.shape
    zero = zeros(s_ref)
    if not options.normalize:
        return Moments(zero, zero + 1, zero)
    first = s_ref[0, 0]
    rest = over_rows(h, lambda row, sum_: sum_ + (s_ref[row] - first).sum(0), zero)
    mean = first + rest / (h * w)

    def deviate(row, largest):
        return jnp.maximum(largest, jnp.abs(s_ref[row] - mean).max(0))

    largest = over_rows(h, deviate, zero)
    spread = largest > jnp.finfo(jnp.float32).tiny
    unit = jnp.where(spread, largest, 1.0)

    def square(row, sum_):
        return sum_ + jnp.square((s_ref[row] - mean) / unit).sum(0)

    variance = over_rows(h, square, zero) / max(h * w - options.ddof, 1)
    sigma = jnp.where(spread, unit * jnp.sqrt(jnp.where(spread, variance, 1.0)), 0.0)
    return Moments(mean, 1 / (sigma + SIGMA_EPSILON), sigma)
