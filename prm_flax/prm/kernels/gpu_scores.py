"""PRM's query, scores and their moments, of the tiles of a GPU's program."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from prm_flax.prm.functional import SIGMA_EPSILON
from prm_flax.prm.kernels.distance import Density, density
from prm_flax.prm.kernels.gpu_tiles import Tile, Tiles
from prm_flax.prm.kernels.options import Options
from prm_flax.prm.kernels.sums import position_mean
from prm_flax.prm.similarity import SIMILARITIES


class Unpacked(NamedTuple):
    """The parameters: α, β, λ, ξ as (g,), θ's two numbers and d as scalars."""

    alpha: jax.Array
    beta: jax.Array
    lam: jax.Array
    xi: jax.Array
    theta_row: jax.Array
    theta_column: jax.Array
    d: jax.Array


class Look(NamedTuple):
    """Query position (g,) int32, query and context vectors (g, c)."""

    place: jax.Array
    query: jax.Array
    context: jax.Array


class Moments(NamedTuple):
    """Mean (g,) of the scores, and σ."""

    mean: jax.Array
    sigma: jax.Array

    @property
    def inverse(self) -> jax.Array:
        """1/(σ + ε)."""
        return 1 / (self.sigma + SIGMA_EPSILON)

    def normed(self, score: jax.Array) -> jax.Array:
        """T of scores (tile, g); 0 where σ is, as S - μ is rounding alone there."""
        return (score - self.mean) * jnp.where(self.sigma > 0, self.inverse, 0.0)


def unpack(shared, four) -> Unpacked:
    """Out of what `sums.pack` makes."""
    return Unpacked(*(four[i] for i in range(4)), *(shared[i] for i in range(3)))


def look(tiles: Tiles) -> Look:
    """Finds each group's query, the first position of the largest sum, and its mean."""
    # The first is subtracted and added again: see `position_mean`.
    first = tiles.x_at(jnp.zeros(tiles.shape[:1], jnp.int32))

    def body(tile, carry):
        best, where, rest = carry
        x, real = tile.x, tile.real
        sums = jnp.where(real, x.sum(-1), -jnp.inf)
        better = sums > best
        return (
            jnp.where(better, sums, best),
            jnp.where(better, tile.index[:, None], where),
            rest + jnp.where(real[..., None], x - first, 0.0),
        )

    nothing = tiles.zeros() - jnp.inf
    place = jnp.zeros(nothing.shape, jnp.int32) + tiles.positions
    init = nothing, place, tiles.zeros(channels=True)
    best, where, rest = tiles.over(body, init, alone=True)
    place = jnp.where(best == best.max(0), where, tiles.positions).min(0)
    # None is the largest where sums are no numbers.
    place = jnp.where(place < tiles.positions, place, 0)
    mean = position_mean(first, rest.sum(0), tiles.positions)
    return Look(place, tiles.x_at(place), mean)


def encoding(tile: Tile, seen: Look, params: Unpacked) -> tuple[Density, Density]:
    """D's terms (tile, g), of the rows and of the columns."""
    width = tile.tiles.width
    here, query = (_row_and_column(i, width) for i in (tile.index, seen.place))
    thetas = params.theta_row, params.theta_column
    down, across = (
        density(jnp.abs(position[:, None] - own), theta, params.d)
        for position, own, theta in zip(here, query, thetas, strict=True)
    )
    return down, across


def _row_and_column(index: jax.Array, width: int) -> tuple[jax.Array, jax.Array]:
    """Of positions' numbers, in float32."""
    # Without a sign a division by a constant is a product and a shift.
    row = lax.div(index.astype(jnp.uint32), jnp.uint32(width)).astype(jnp.int32)
    column = index - row * width
    return row.astype(jnp.float32), column.astype(jnp.float32)


def similarity(options: Options) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """φ in operations that a kernel has."""
    phi = SIMILARITIES[options.similarity]
    return lambda x, v: phi(x, v, lambda values: values.sum(-1))


class Scores(NamedTuple):
    """Of a tile: D's terms, φ(x, q), φ(x, z) and S, (tile, g) each."""

    densities: tuple[Density, ...]
    by_query: jax.Array
    by_context: jax.Array
    score: jax.Array

    @property
    def near(self) -> jax.Array | float:
        """D."""
        if not self.densities:
            return 1.0
        down, across = self.densities
        return down.value + across.value


def scores(tile: Tile, seen: Look, params: Unpacked, options: Options) -> Scores:
    """Eq. 1 for a tile of x."""
    x = tile.x
    phi = similarity(options)
    by_query, by_context = phi(x, seen.query[None]), phi(x, seen.context[None])
    parts = encoding(tile, seen, params) if options.position else ()
    made = Scores(parts, by_query, by_context, by_query)
    score = params.alpha * by_query * made.near + params.beta * by_context
    return made._replace(score=score)


def moments(
    tiles: Tiles, score: Callable[[Any], jax.Array], options: Options
) -> Moments:
    """Of the scores over all tiles.

    Each place of a tile has a mean and a sum of squares of its own, of the tiles up to
    now (Welford, 1962); in the end they are joined by the rule for two sets (Chan,
    Golub and LeVeque, 1979). Where a square would leave the range of float32, another
    pass sums them in units of the largest deviation.
    """
    zero = jnp.zeros(tiles.shape[:1], jnp.float32)
    if not options.normalize:
        return Moments(zero, zero + (1 - SIGMA_EPSILON))

    def body(tile, carry):
        mean, squares, largest = carry
        count = jnp.asarray(tile.number, jnp.float32)
        share = 1 / (count + 1)
        step = jnp.where(tile.real, score(tile) - mean, 0.0)
        # Nothing at first: the first value is the mean, not a step from it.
        deviation = step * (count * share)
        largest = jnp.maximum(largest, jnp.abs(deviation))
        return mean + step * share, squares + deviation * step, largest

    mean, squares, largest = tiles.over(body, (tiles.zeros(),) * 3, alone=True)
    first, rounds = tiles.at_first(mean), tiles.rounds()
    own = jnp.where(rounds > 0, mean - first, 0.0)
    rest = (own * rounds).sum(0) / tiles.positions
    deviation = jnp.where(rounds > 0, own - rest, 0.0)
    largest = jnp.maximum(largest, jnp.abs(deviation)).max(0)
    squares = squares + rounds * jnp.square(deviation)
    unit, total = _in_units(tiles, score, first + rest, largest, squares.sum(0))
    variance = total / max(tiles.positions - options.ddof, 1)
    spread = largest > _TINY
    sigma = unit * jnp.sqrt(jnp.where(spread, variance, 1.0))
    return Moments(first + rest, jnp.where(spread, sigma, 0.0))


def _in_units(tiles: Tiles, score, mean, largest, squares):
    """(unit, Σ ((S - μ) / unit)²), (g,) each: the unit is 1 where squares are safe."""
    safe = ((largest > _SAFE[0]) & (largest < _SAFE[1])) | (largest <= _TINY)
    unit = jnp.where(safe, 1.0, largest)

    def body(tile, carry):
        deviation = jnp.where(tile.real, score(tile) - mean, 0.0)
        return carry + jnp.square(deviation / unit)

    rounds = tiles.count * jnp.where(safe, 0, 1).max()
    found = tiles.over(body, tiles.zeros(), alone=True, rounds=rounds)
    return unit, jnp.where(safe, squares, found.sum(0))


# Deviations whose squares, and sums of them, are normal numbers of float32.
_SAFE = 1e-15, 1e15
_TINY = float(jnp.finfo(jnp.float32).tiny)


def sigmoid(u: jax.Array) -> jax.Array:
    """1 / (1 + exp(-u)), in operations that a kernel has."""
    return 1 / (1 + jnp.exp2(u * -math.log2(math.e)))


def factors(scores: Scores) -> list[jax.Array]:
    """(tile, g) each: ∂S/∂α and ∂S/∂β, then, over α, those by θ's two numbers and d."""
    found = [scores.near * scores.by_query, scores.by_context]
    if scores.densities:
        down, across = scores.densities
        found += [down.by_theta * scores.by_query, across.by_theta * scores.by_query]
        found += [(down.by_d + across.by_d) * scores.by_query]
    return found
