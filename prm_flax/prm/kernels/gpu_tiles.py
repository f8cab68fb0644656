"""What both GPU kernels do with one image's positions and some of its groups.

A program sees arrays (n, g, c), all positions of one image and a few groups, and works
on tiles of them, since a tile must fit the registers. Small maps are one tile, which is
read once and kept; larger ones are read again in each pass over the positions.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from prm_flax.prm.functional import SIGMA_EPSILON
from prm_flax.prm.kernels.distance import Density, density
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


class Tiles:
    """One program's share of x and of arrays of its shape (n, g, c), tile by tile.

    Args:
        ref: the features, in which x is affine.
        affine: (3, g, c) mean, factor and bias, or None where x is the features.
        others: the other arrays.
        size: h and w of the map.
        tile: positions of a tile, a power of two.
    """

    def __init__(self, ref, affine, others, size: tuple[int, int], tile: int):
        self.ref, self._others, self.tile, self.width = ref, others, tile, size[1]
        self.affine = None if affine is None else [affine[i] for i in range(3)]
        self.has_affine = affine is not None
        self.shape = ref.shape[1:]
        self.positions = size[0] * size[1]
        self.count = pl.cdiv(self.positions, tile)
        self._kept = (
            [self._load(each, 0) for each in (ref, *others)]
            if self.count == 1
            else None
        )

    def x(self, number) -> jax.Array:
        """A tile of x in float32, of a norm's precision; 0 beyond the last position."""
        if self.affine is None:
            return self._read(0, number)
        _, factor, bias = self.affine
        x = (self.centred(number) * factor + bias).astype(self.ref.dtype)
        return jnp.where(self.real(number)[..., None], x.astype(jnp.float32), 0.0)

    def centred(self, number) -> jax.Array:
        """A tile of the features less the affine's mean, anything past the last."""
        assert self.affine is not None
        return self._read(0, number) - self.affine[0]

    def pull(self, dx: jax.Array) -> jax.Array:
        """The cotangent of the features, given that of x."""
        return dx if self.affine is None else dx * self.affine[1]

    def others(self, number) -> list[jax.Array]:
        """A tile of each other array, in float32; 0 beyond the last position."""
        return [self._read(i + 1, number) for i in range(len(self._others))]

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

    def _read(self, which: int, number) -> jax.Array:
        if self._kept:
            return self._kept[which].astype(jnp.float32)
        ref = (self.ref, *self._others)[which]
        return self._load(ref, number).astype(jnp.float32)

    def _load(self, ref, number) -> jax.Array:
        shape = self.tile, *ref.shape[1:]
        mask = jnp.broadcast_to(self.real(number)[..., None], shape)
        return triton.load(self._part(ref, number), mask=mask, other=0.0)

    def _part(self, ref, number):
        return ref.at[pl.ds(number * self.tile, self.tile)]


def look(tiles: Tiles) -> Look:
    """Finds each group's query, the first position of the largest sum, and its mean."""
    shape = tiles.shape

    def body(number, carry):
        best, index, query, rest = carry
        x = tiles.x(number)
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

    # The first is subtracted and added again: see `position_mean`.
    at_first = (tiles.index(0) == 0)[:, None, None]
    first = jnp.where(at_first, tiles.x(0), 0.0).sum(0)
    nothing = jnp.full(shape[:1], -jnp.inf, jnp.float32)
    index = jnp.zeros(shape[:1], jnp.int32)
    zero = jnp.zeros(shape, jnp.float32)
    _, index, query, rest = tiles.over(body, (nothing, index, zero, zero))
    return Look(index, query, position_mean(first, rest, tiles.positions))


def encoding(
    tiles: Tiles, number, seen: Look, params: Unpacked
) -> tuple[Density, Density]:
    """D's terms (tile, g), of the rows and of the columns."""
    position, index = tiles.index(number)[:, None], seen.place[None]
    down = jnp.abs(position // tiles.width - index // tiles.width)
    across = jnp.abs(position % tiles.width - index % tiles.width)
    return (
        density(down.astype(jnp.float32), params.theta_row, params.d),
        density(across.astype(jnp.float32), params.theta_column, params.d),
    )


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
        return sum(each.value for each in self.densities) if self.densities else 1.0


def scores(
    tiles: Tiles, number, seen: Look, params: Unpacked, options: Options
) -> Scores:
    """Eq. 1 for a tile of x."""
    x = tiles.x(number)
    phi = similarity(options)
    by_query, by_context = phi(x, seen.query[None]), phi(x, seen.context[None])
    parts = encoding(tiles, number, seen, params) if options.position else ()
    made = Scores(parts, by_query, by_context, by_query)
    score = params.alpha * by_query * made.near + params.beta * by_context
    return made._replace(score=score)


def moments(
    tiles: Tiles, score: Callable[[Any], jax.Array], options: Options
) -> Moments:
    """Of the scores over all tiles, in units of their largest deviation.

    Tiles are joined by the rule for means and sums of squares of two sets (Chan, Golub
    and LeVeque, 1979).
    """
    zero = jnp.zeros(tiles.shape[:1], jnp.float32)
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


def factors(scores: Scores) -> list[jax.Array]:
    """(tile, g) each: ∂S/∂α and ∂S/∂β, then, over α, those by θ's two numbers and d."""
    found = [scores.near * scores.by_query, scores.by_context]
    if scores.densities:
        down, across = scores.densities
        found += [down.by_theta * scores.by_query, across.by_theta * scores.by_query]
        found += [(down.by_d + across.by_d) * scores.by_query]
    return found


class Line(NamedTuple):
    """Numbers (g,) each of the line m + k T that a factor of dS lies about."""

    m: jax.Array
    k: jax.Array

    def off(self, factor: jax.Array, normed: jax.Array) -> jax.Array:
        """The factor less its line."""
        return factor - self.m - self.k * normed
