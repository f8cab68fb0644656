"""What both GPU kernels do with one image's positions and some of its groups.

A program sees arrays (n, g, c), all positions of one image and a few groups, and works
on tiles of them, since a tile must fit the registers. The smallest maps are one tile,
which is read once and kept; others are read again in each pass over the positions, by
so many programs of few warps that loads and sums of different ones overlap.
"""

import math
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

    A sum over all positions is kept place by place of a tile, and the tile's places are
    added once, at the end: that alone makes a program's warps wait for one another.

    Args:
        ref: the features, in which x is affine.
        affine: (3, g, c) mean, factor and bias, or None where x is the features.
        others: the other arrays.
        size: h and w of the map.
        tile: positions of a tile, a power of two.
    """

    def __init__(self, ref, affine, others, size: tuple[int, int], tile: int):
        self.refs, self.tile, self.width = (ref, *others), tile, size[1]
        self.affine = None if affine is None else [affine[i] for i in range(3)]
        self.dtype = ref.dtype
        self.shape = ref.shape[1:]
        self.positions = size[0] * size[1]
        self.count = pl.cdiv(self.positions, tile)
        # A map of one tile is read once.
        self.only = self._load(0) if self.count == 1 else None

    def over(self, body: Callable, init: Any, alone: bool = False, rounds=None) -> Any:
        """`body(tile, carry)` for each tile, while the next is on its way.

        Args:
            body: what is done with a `Tile`.
            init: the first carry.
            alone: whether the features are all it takes, no other array.
            rounds: so many tiles, all unless said.
        """
        only = self.only
        if only and rounds is None:
            return body(only, init)
        count = self.count if rounds is None else rounds
        if only:
            return lax.fori_loop(0, count, lambda _, carry: body(only, carry), init)

        def step(number, state):
            arrays, carry = state
            ahead = self._load(number + 1, alone).arrays
            return ahead, body(Tile(self, number, arrays), carry)

        first = self._load(0, alone).arrays
        return lax.fori_loop(0, count, step, (first, init))[1]

    def _load(self, number, alone: bool = False) -> "Tile":
        """Nothing is read beyond the last position."""
        mask = Tile(self, number, []).real[..., None]
        arrays = [
            triton.load(
                ref.at[pl.ds(number * self.tile, self.tile)],
                mask=jnp.broadcast_to(mask, (self.tile, *self.shape)),
                other=0.0,
            )
            for ref in (self.refs[:1] if alone else self.refs)
        ]
        return Tile(self, number, arrays)

    def x_at(self, place: jax.Array) -> jax.Array:
        """X of each group's own position: (g,) -> (g, c)."""
        group, channel = (
            lax.broadcasted_iota(jnp.int32, self.shape, i) for i in (0, 1)
        )
        places = jnp.broadcast_to(place[:, None], self.shape)
        found = triton.load(self.refs[0].at[places, group, channel])
        return self.of_norm(found.astype(jnp.float32))

    def of_norm(self, features: jax.Array) -> jax.Array:
        """X in float32, of a norm's precision."""
        if self.affine is None:
            return features
        mean, factor, bias = self.affine
        x = (features - mean) * factor + bias
        return x.astype(self.dtype).astype(jnp.float32)

    def pull(self, dx: jax.Array) -> jax.Array:
        """The cotangent of the features, given that of x."""
        return dx if self.affine is None else dx * self.affine[1]

    def zeros(self, channels: bool = False) -> jax.Array:
        """Where sums of each place of a tile begin: (tile, g), or (tile, g, c)."""
        shape = (self.tile, *self.shape[: 2 if channels else 1])
        return jnp.zeros(shape, jnp.float32)

    def rounds(self) -> jax.Array:
        """(tile, 1) float32, how many tiles have a position at each place."""
        places = lax.iota(jnp.int32, self.tile)[:, None]
        last = places < self.positions - (self.count - 1) * self.tile
        return self.count - 1.0 + last.astype(jnp.float32)

    def at_first(self, values: jax.Array) -> jax.Array:
        """(tile, g) of the first tile -> (g,) at the first position."""
        first = lax.iota(jnp.int32, self.tile)[:, None] == 0
        return jnp.where(first, values, 0.0).sum(0)


class Tile:
    """Some positions one after the other.

    Attributes:
        number: of the tile.
        arrays: the features, and the others if they were asked for, as they lie.
        index: (tile,) the positions' numbers.
        real: (tile, 1) whether there is such a position.
    """

    def __init__(self, tiles: Tiles, number, arrays: list[jax.Array]):
        self.tiles, self.number, self.arrays = tiles, number, arrays
        self.index = number * tiles.tile + lax.iota(jnp.int32, tiles.tile)
        self.real = (self.index < tiles.positions)[:, None]

    @property
    def x(self) -> jax.Array:
        """In float32; 0 beyond the last position."""
        x = self.tiles.of_norm(self.arrays[0].astype(jnp.float32))
        if self.tiles.affine is None:
            return x
        return jnp.where(self.real[..., None], x, 0.0)

    @property
    def centred(self) -> jax.Array:
        """The features less the affine's mean, anything past the last position."""
        assert self.tiles.affine is not None
        return self.arrays[0].astype(jnp.float32) - self.tiles.affine[0]

    @property
    def others(self) -> list[jax.Array]:
        """The other arrays in float32; 0 beyond the last position."""
        return [each.astype(jnp.float32) for each in self.arrays[1:]]

    def write(self, ref, value: jax.Array) -> None:
        """Up to the last position."""
        size = self.tiles.tile
        mask = jnp.broadcast_to(self.real[..., None], value.shape)
        place = ref.at[pl.ds(self.number * size, size)]
        triton.store(place, value.astype(ref.dtype), mask=mask)


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
