"""The backward kernel of a GPU.

dS = a du + b + c T, where a, b and c are numbers of a group. Sums over du give them;
then sums over dS give what all positions share; then there is dx. A map of one tile is
read once, a larger one for each of the three.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from prm_flax.prm.kernels import gpu_scores as prm
from prm_flax.prm.kernels.gpu_tiles import Tile, Tiles
from prm_flax.prm.kernels.options import Options


def backward_body(
    size: tuple[int, int], tile_: int, has_affine: bool, options: Options, *refs
):
    """refs: θ and d, α β λ ξ, affine?, what was seen, features, dy, y?; dx, sums."""
    shared, four, *refs = refs
    affine = refs.pop(0) if has_affine else None
    index, pair, numbers, x_ref, *refs = refs
    rates = refs.pop() if has_affine else None
    *others, dx_ref, sums = refs
    inputs = _Inputs(
        Tiles(x_ref, affine, others, size, tile_),
        prm.unpack(shared, four),
        prm.Look(index[...], pair[0], pair[1]),
        prm.Moments(numbers[0], numbers[1]),
        (numbers[2], numbers[3]),
        options,
    )
    point = _points(inputs)
    shared = _shared(inputs, point, *_slope(inputs, point))
    for i, row in enumerate(shared.rows):
        sums[i] = row
    found = _to_x(inputs, point, shared, dx_ref)
    if rates is not None:
        rates[0], rates[1] = found


class _Inputs(NamedTuple):
    """What the kernel was given; `means` (g,) are of the factors of α and β."""

    tiles: Tiles
    params: prm.Unpacked
    seen: prm.Look
    moments: prm.Moments
    means: tuple[jax.Array, jax.Array]
    options: Options


class _Point(NamedTuple):
    """What the gradient needs of a tile: (tile, g, c) twice, then (tile, g)."""

    x: jax.Array
    dy: jax.Array
    scores: prm.Scores
    normed: jax.Array
    gate: jax.Array
    du: jax.Array


def _points(inputs: _Inputs) -> Callable[..., _Point]:
    tiles, params, seen, moments, _, options = inputs

    def make(at: Tile) -> _Point:
        x, (dy, *y) = at.x, at.others
        for result in y:
            dy = jnp.where(result > 0, dy, 0.0)
        made = prm.scores(at, seen, params, options)
        normed = jnp.where(at.real, moments.normed(made.score), 0.0)
        gate = prm.sigmoid(params.lam * normed + params.xi)
        return _Point(x, dy, made, normed, gate, (x * dy).sum(-1) * gate * (1 - gate))

    only = make(tiles.only) if tiles.only else None
    return lambda at: only or make(at)


class _Slope(NamedTuple):
    """(g,) each: dS = a (du - origin) + b + c T, where origin is du's first value.

    Less its first value du cancels little where it hardly varies.
    """

    a: jax.Array
    b: jax.Array
    c: jax.Array
    origin: jax.Array

    def at(self, point: _Point) -> jax.Array:
        """DS of a tile (tile, g)."""
        return self.a * (point.du - self.origin) + self.b + self.c * point.normed


class _Shared(NamedTuple):
    """What all positions share.

    Attributes:
        slope: of dS.
        to_query: (g, c) cotangent of the query.
        to_all: (g, c) the context's, of each position.
        rows: eight of (g,): dα dβ dλ dξ dθ_row dθ_column dd 0.
    """

    slope: _Slope
    to_query: jax.Array
    to_all: jax.Array
    rows: list[jax.Array]


class _Rates(NamedTuple):
    """Sums (g,) over positions: Σ (du - origin), and dλ = Σ du T."""

    rest: jax.Array
    dlam: jax.Array


def _slope(inputs: _Inputs, point) -> tuple[_Slope, _Rates]:
    tiles = inputs.tiles

    def body(at, carry):
        p = point(at)
        first, rest, dlam = carry
        first = jnp.where(at.number == 0, p.du, first)
        step = jnp.where(at.real, p.du - first, 0.0)
        return first, rest + step, dlam + p.du * p.normed

    first, rest, dlam = tiles.over(body, (tiles.zeros(),) * 3)
    origin, rounds = tiles.at_first(first), tiles.rounds()
    rest = rest + rounds * jnp.where(rounds > 0, first - origin, 0.0)
    rates = _Rates(rest.sum(0), dlam.sum(0))
    return _slope_of(inputs, origin, rates), rates


def _slope_of(inputs: _Inputs, origin, rates: _Rates) -> _Slope:
    moments, options, n = inputs.moments, inputs.options, inputs.tiles.positions
    lam = inputs.params.lam
    if not options.normalize:
        return _Slope(lam, lam * origin, 0.0 * lam, origin)
    if n == 1:  # T is 0 whatever S is; 1/ε would lift rounding errors
        nothing = 0.0 * lam
        return _Slope(nothing, nothing, nothing, origin)
    spread = moments.sigma > 0
    divisor = jnp.where(spread, moments.sigma, 1.0) * max(n - options.ddof, 1)
    a = lam * moments.inverse
    c = jnp.where(spread, -lam * rates.dlam / divisor, 0.0)
    return _Slope(a, -a * rates.rest / n, c, origin)


def _shared(inputs: _Inputs, point, slope: _Slope, rates: _Rates) -> _Shared:
    tiles, params, options = inputs.tiles, inputs.params, inputs.options

    def body(at, carry):
        p = point(at)
        ds = jnp.where(at.real, slope.at(p), 0.0)
        found = [*_to_vectors(inputs, p, ds), *(ds * f for f in _factors(inputs, p))]
        return [sum_ + each for sum_, each in zip(carry, found, strict=True)]

    vectors = [tiles.zeros(channels=True)] * 2
    numbers = [tiles.zeros()] * (5 if options.position else 2)
    found = tiles.over(body, vectors + numbers)
    to_query, to_context, dalpha, dbeta, *rest = (each.sum(0) for each in found)
    dxi = rates.rest + tiles.positions * slope.origin
    rows = [dalpha, dbeta, rates.dlam, dxi, *(params.alpha * each for each in rest)]
    rows += [jnp.zeros_like(dxi)] * (8 - len(rows))
    to_query = params.alpha[:, None] * to_query
    to_all = params.beta[:, None] * to_context / tiles.positions
    return _Shared(slope, to_query, to_all, rows)


def _factors(inputs: _Inputs, p: _Point) -> list[jax.Array]:
    """Those of dS, the first two less their means: Σ dS is 0 if scores are normalised.

    That it is 0 to rounding alone would be felt where a mean is large.
    """
    found = prm.factors(p.scores)
    if inputs.options.normalize:
        two = zip(found[:2], inputs.means, strict=True)
        found[:2] = [factor - mean for factor, mean in two]
    return found


def _to_vectors(inputs: _Inputs, p: _Point, ds) -> list[jax.Array]:
    """What the query and the context get from each position, over α and β."""
    phi, seen = prm.similarity(inputs.options), inputs.seen
    found = []
    for vector, values in ((seen.query, ds * p.scores.near), (seen.context, ds)):
        wide = jnp.broadcast_to(vector, p.x.shape)
        found += jax.vjp(lambda v: phi(p.x, v), wide)[1](values)
    return found


def _to_x(inputs: _Inputs, point, shared: _Shared, dx_ref):
    """Writes the features' cotangent; returns the sums of the affine's, if any."""
    tiles, params, seen, _, _, options = inputs
    phi = prm.similarity(options)

    def body(at, carry):
        p = point(at)
        ds = shared.slope.at(p)
        _, pull_query = jax.vjp(lambda x: phi(x, seen.query[None]), p.x)
        _, pull_context = jax.vjp(lambda x: phi(x, seen.context[None]), p.x)
        dx = p.dy * p.gate[..., None] + shared.to_all
        dx = dx + pull_query(ds * params.alpha * p.scores.near)[0]
        dx = dx + pull_context(ds * params.beta)[0]
        here = at.index[:, None] == seen.place[None]
        dx = dx + jnp.where(here[..., None], shared.to_query, 0.0)
        at.write(dx_ref, tiles.pull(dx))
        if tiles.affine is None:
            return carry
        bias, factor = carry
        dx = jnp.where(at.real[..., None], dx, 0.0)
        return bias + dx, factor + dx * at.centred

    if tiles.affine is None:
        return tiles.over(body, 0)
    return [each.sum(0) for each in tiles.over(body, (tiles.zeros(channels=True),) * 2)]
