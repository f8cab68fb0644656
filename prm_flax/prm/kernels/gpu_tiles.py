"""What both GPU kernels do with one image's positions and some of its groups.

A program sees arrays (n, g, c), all positions of one image and a few groups, and works on
tiles of them, since a tile must fit the registers. Small maps are one tile, which is read
once and kept; larger ones are read again in each pass over the positions.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from prm_flax.prm.kernels.distance import Density, density
from prm_flax.prm.kernels.options import Options
from prm_flax.prm.numerics import SIGMA_EPSILON
from prm_flax.prm.similarity import SIMILARITIES


class Weights(NamedTuple):
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

    index: jax.Array
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


class Tiles:
    """Arrays (n, g, c) of one program, tile by tile.

    Args:
        refs: the arrays.
        size: h and w of the map.
        tile: positions of a tile, a power of two.
    """

    def __init__(self, refs, size: tuple[int, int], tile: int):
        self.refs, self.tile, self.width = refs, tile, size[1]
        self.positions = size[0] * size[1]
        self.count = pl.cdiv(self.positions, tile)
        self.kept = [self._read(ref, 0) for ref in refs] if self.count == 1 else None

    def get(self, number) -> list[jax.Array]:
        """A tile of each array, in float32; 0 beyond the last position."""
        return self.kept or [self._read(ref, number) for ref in self.refs]

    def index(self, number) -> jax.Array:
        """(tile,) the positions' numbers."""
        return number * self.tile + lax.iota(jnp.int32, self.tile)

    def real(self, number) -> jax.Array:
        """(tile, 1) whether there is such a position."""
        return (self.index(number) < self.positions)[:, None]

    def over(self, body: Callable, init: Any) -> Any:
        """`body(number, carry)` for each tile."""
        if self.count == 1:
            return body(0, init)
        return lax.fori_loop(0, self.count, body, init)

    def write(self, ref, number, value: jax.Array) -> None:
        """Writes a tile, up to the last position."""
        mask = jnp.broadcast_to(self.real(number)[..., None], value.shape)
        triton.store(self._part(ref, number), value.astype(ref.dtype), mask=mask)

    def _read(self, ref, number) -> jax.Array:
        shape = self.tile, *ref.shape[1:]
        mask = jnp.broadcast_to(self.real(number)[..., None], shape)
        part = triton.load(self._part(ref, number), mask=mask, other=0.0)
        return part.astype(jnp.float32)

    def _part(self, ref, number):
        return ref.at[pl.ds(number * self.tile, self.tile)]


def look(tiles: Tiles, shape: tuple[int, int]) -> Look:
    """Finds each group's query, the first position of the largest sum, and its mean.

    Args:
        tiles: of x.
        shape: (g, c).
    """

    def body(number, carry):
        best, index, query, rest = carry
        x = tiles.get(number)[0]
        position = tiles.index(number)[:, None]
        sums = jnp.where(tiles.real(number), x.sum(-1), -jnp.inf)
        top = sums.max(0)
        here = jnp.where(sums == top, position, tiles.positions).min(0)
        vector = jnp.where((position == here)[..., None], x, 0.0).sum(0)
        better = top > best
        return (
            jnp.where(better, top, best),
            jnp.where(better, here, index),
            jnp.where(better[:, None], vector, query),
            rest + jnp.where(tiles.real(number)[..., None], x - first, 0.0).sum(0),
        )

    # The first is subtracted and added again: a constant map has its own value as mean.
    at_first = (tiles.index(0) == 0)[:, None, None]
    first = jnp.where(at_first, tiles.get(0)[0], 0.0).sum(0)
    nothing = jnp.full(shape[:1], -jnp.inf, jnp.float32)
    index = jnp.zeros(shape[:1], jnp.int32)
    zero = jnp.zeros(shape, jnp.float32)
    _, index, query, rest = tiles.over(body, (nothing, index, zero, zero))
    return Look(index, query, first + rest / tiles.positions)


def encoding(
    tiles: Tiles, number, seen: Look, weights: Weights
) -> tuple[Density, Density]:
    """D's terms (tile, g), of the rows and of the columns."""
    position, index = tiles.index(number)[:, None], seen.index[None]
    down = jnp.abs(position // tiles.width - index // tiles.width)
    across = jnp.abs(position % tiles.width - index % tiles.width)
    return (
        density(down.astype(jnp.float32), weights.theta_row, weights.d),
        density(across.astype(jnp.float32), weights.theta_column, weights.d),
    )


class Scores(NamedTuple):
    """Of a tile: D's terms, φ(x, q), φ(x, z) and S, (tile, g) each."""

    densities: tuple[Density, ...]
    by_query: jax.Array
    by_context: jax.Array
    score: jax.Array

    @property
    def near(self) -> jax.Array | float:
        """D."""
        return sum(each.value for each in self.densities) if self.densities else 1.0


def scores(
    tiles: Tiles, number, x, seen: Look, weights: Weights, options: Options
) -> Scores:
    """Eq. 1 for a tile x (tile, g, c)."""
    phi = SIMILARITIES[options.similarity]
    by_query, by_context = phi(x, seen.query[None]), phi(x, seen.context[None])
    parts = encoding(tiles, number, seen, weights) if options.position else ()
    made = Scores(parts, by_query, by_context, by_query)
    score = weights.alpha * by_query * made.near + weights.beta * by_context
    return made._replace(score=score)


def moments(
    tiles: Tiles, score: Callable[[Any], jax.Array], groups: int, options: Options
) -> Moments:
    """Of the scores over all tiles, in units of their largest deviation.

    Tiles are joined by the rule for means and sums of squares of two sets (Chan, Golub
    and LeVeque, 1979).
    """
    zero = jnp.zeros((groups,), jnp.float32)
    if not options.normalize:
        return Moments(zero, zero + (1 - SIGMA_EPSILON))

    def body(number, carry):
        count, mean, squares, unit = carry
        values, real = score(number), tiles.real(number)
        more = real.astype(jnp.float32).sum()
        first = jnp.where((tiles.index(number) % tiles.tile == 0)[:, None], values, 0.0)
        first = first.sum(0)
        own = first + jnp.where(real, values - first, 0.0).sum(0) / more
        deviation = jnp.where(real, values - own, 0.0)
        step = (own - mean) * jnp.minimum(count, 1.0)
        largest = jnp.maximum(jnp.abs(deviation).max(0), jnp.abs(step))
        largest = jnp.maximum(largest, unit)
        one = jnp.where(largest > _TINY, largest, 1.0)
        weight = count * more / (count + more)
        squares = squares * jnp.square(unit / one) + weight * jnp.square(step / one)
        squares = squares + jnp.square(deviation / one).sum(0)
        mean = own - step * (count / (count + more))
        return count + more, mean, squares, largest

    _, mean, squares, unit = tiles.over(body, (jnp.float32(0), zero, zero, zero))
    spread = unit > _TINY
    variance = squares / max(tiles.positions - options.ddof, 1)
    sigma = unit * jnp.sqrt(jnp.where(spread, variance, 1.0))
    return Moments(mean, jnp.where(spread, sigma, 0.0))


_TINY = float(jnp.finfo(jnp.float32).tiny)


def sigmoid(u: jax.Array) -> jax.Array:
    """1 / (1 + exp(-u)), in operations that a kernel has."""
    return 1 / (1 + jnp.exp(-u))
