"""The backward kernel of a GPU.

First what all positions share, then dx. dS = a du + b + c T, where a, b and c are
numbers of a group that sums over du give. A map that a program keeps takes these sums
first. A larger one is read twice only: what is linear in dS is summed for du, 1 and T
apart, and joined afterwards.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from prm_flax.prm.functional import SIGMA_EPSILON
from prm_flax.prm.kernels import gpu_tiles as tile
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
        tile.Tiles(x_ref, affine, others, size, tile_),
        tile.unpack(shared, four),
        tile.Look(index[...], pair[0], pair[1]),
        tile.Moments(numbers[0], numbers[1]),
        [tile.Line(numbers[i], numbers[i + 1]) for i in (2, 4)],
        options,
    )
    point = _points(inputs)
    shared = _of_kept(inputs, point(0)) if inputs.tiles.count == 1 else None
    shared = shared or _of_streamed(inputs, point)
    for i, row in enumerate(shared.rows):
        sums[i] = row
    found = _to_x(inputs, point, shared, dx_ref)
    if rates is not None:
        rates[0], rates[1] = found


class _Inputs(NamedTuple):
    """What the kernel was given."""

    tiles: tile.Tiles
    params: tile.Unpacked
    seen: tile.Look
    moments: tile.Moments
    lines: list[tile.Line]
    options: Options


class _Point(NamedTuple):
    """What the gradient needs of a tile: (tile, g, c) twice, then (tile, g)."""

    x: jax.Array
    dy: jax.Array
    scores: tile.Scores
    normed: jax.Array
    gate: jax.Array
    du: jax.Array


def _points(inputs: _Inputs) -> Callable[..., _Point]:
    tiles, params, seen, moments, _, options = inputs

    def make(number) -> _Point:
        x, (dy, *y) = tiles.x(number), tiles.others(number)
        for result in y:
            dy = jnp.where(result > 0, dy, 0.0)
        made = tile.scores(tiles, number, seen, params, options)
        normed = jnp.where(tiles.real(number), moments.normed(made.score), 0.0)
        gate = tile.sigmoid(params.lam * normed + params.xi)
        return _Point(x, dy, made, normed, gate, (x * dy).sum(-1) * gate * (1 - gate))

    only = make(0) if tiles.count == 1 else None
    return lambda number: only or make(number)


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


def _of_kept(inputs: _Inputs, p: _Point) -> _Shared:
    real = inputs.tiles.real(0)
    origin = _first(inputs, 0, p.du)
    rest = jnp.where(real, p.du - origin, 0.0).sum(0)
    dlam = (p.du * p.normed).sum(0)
    slope = _slope(inputs, origin, rest, dlam)
    ds = jnp.where(real, slope.at(p), 0.0)
    return _share(
        inputs, slope, rest, dlam, _linear(inputs, p, tile.factors(p.scores), ds)
    )


class _Sums(NamedTuple):
    """Over positions.

    Attributes:
        origin: (g,) du at the first position; 0 if Σ dS is not 0 anyway.
        begins: (g,) each, the factors of θ and d there.
        by_du: what is linear in dS, see `_linear`, for du less its first value.
        by_one: the same for 1.
        by_normed: the same for T.
        rest: (g,) Σ of du less its first value.
        dlam: (g,) Σ du T.
    """

    origin: jax.Array
    begins: list[jax.Array]
    by_du: list[jax.Array]
    by_one: list[jax.Array]
    by_normed: list[jax.Array]
    rest: jax.Array
    dlam: jax.Array


def _of_streamed(inputs: _Inputs, point) -> _Shared:
    tiles = inputs.tiles

    def body(number, carry: _Sums) -> _Sums:
        p, real = point(number), tiles.real(number)
        origin = carry.origin
        if inputs.options.normalize:
            origin = origin + _first(inputs, number, p.du)
        du = jnp.where(real, p.du - origin, 0.0)
        begins, factors = _off_their_lines(inputs, number, p, carry.begins)
        ones = jnp.broadcast_to(real.astype(jnp.float32), du.shape)
        parts = zip(
            (carry.by_du, carry.by_one, carry.by_normed),
            (du, ones, p.normed),
            strict=True,
        )
        by_du, by_one, by_normed = (
            [a + b for a, b in zip(sums, _linear(inputs, p, factors, v), strict=True)]
            for sums, v in parts
        )
        rest, dlam = carry.rest + du.sum(0), carry.dlam + (p.du * p.normed).sum(0)
        return _Sums(origin, begins, by_du, by_one, by_normed, rest, dlam)

    vector = jnp.zeros(tiles.shape, jnp.float32)
    number = jnp.zeros(tiles.shape[:1], jnp.float32)
    begins = [number] * (3 if inputs.options.position else 0)
    parts = [vector, vector, number, number, *begins]
    sums = tiles.over(body, _Sums(number, begins, parts, parts, parts, number, number))
    slope = _slope(inputs, sums.origin, sums.rest, sums.dlam)
    joined = []
    for u, o, t in zip(sums.by_du, sums.by_one, sums.by_normed, strict=True):
        lift = (slice(None),) + (None,) * (u.ndim - 1)
        joined.append(slope.a[lift] * u + slope.b[lift] * o + slope.c[lift] * t)
    if inputs.options.normalize:
        along = _along_normed(inputs, sums.dlam)
        joined[2:4] = [
            sum_ + line.k * along
            for sum_, line in zip(joined[2:4], inputs.lines, strict=True)
        ]
    return _share(inputs, slope, sums.rest, sums.dlam, joined)


def _off_their_lines(inputs: _Inputs, number, p: _Point, begins):
    """The factors, less what dS is orthogonal to, or nearly: little then cancels.

    Σ dS = 0, and Σ dS T is known, if scores are normalised.
    """
    factors = tile.factors(p.scores)
    if not inputs.options.normalize:
        return begins, factors
    begins = [
        begin + _first(inputs, number, factor)
        for begin, factor in zip(begins, factors[2:], strict=True)
    ]
    off = [
        line.off(factor, p.normed)
        for line, factor in zip(inputs.lines, factors[:2], strict=True)
    ]
    rest = [f - begin for f, begin in zip(factors[2:], begins, strict=True)]
    return begins, [jnp.where(inputs.tiles.real(number), f, 0.0) for f in off + rest]


def _along_normed(inputs: _Inputs, dlam) -> jax.Array:
    """Σ dS T (g,): all of it cancels but for the ε of 1 / (σ + ε)."""
    moments, epsilon = inputs.moments, SIGMA_EPSILON
    small = inputs.params.lam * dlam * epsilon * moments.inverse * moments.inverse
    return jnp.where(moments.sigma > 0, small, inputs.params.lam * dlam / epsilon)


def _first(inputs: _Inputs, number, values) -> jax.Array:
    """(tile, g) -> (g,) the value at the first position, 0 from other tiles."""
    at_first = (inputs.tiles.index(number) == 0)[:, None]
    return jnp.where(at_first, values, 0.0).sum(0)


def _linear(inputs: _Inputs, p: _Point, factors, values) -> list[jax.Array]:
    """Σ over a tile, values in the place of dS: to query and context, by factors."""
    phi, seen = tile.similarity(inputs.options), inputs.seen
    _, to_query = jax.vjp(lambda v: phi(p.x, v), seen.query[None])
    _, to_context = jax.vjp(lambda v: phi(p.x, v), seen.context[None])
    vectors = [to_query(values * p.scores.near)[0][0], to_context(values)[0][0]]
    return vectors + [(values * factor).sum(0) for factor in factors]


def _share(inputs: _Inputs, slope: _Slope, rest, dlam, linear) -> _Shared:
    tiles, params = inputs.tiles, inputs.params
    to_query, to_context, dalpha, dbeta, *shared = linear
    dxi = rest + tiles.positions * slope.origin
    rows = [dalpha, dbeta, dlam, dxi, *(params.alpha * each for each in shared)]
    rows += [jnp.zeros_like(dxi)] * (8 - len(rows))
    to_query = params.alpha[:, None] * to_query
    to_all = params.beta[:, None] * to_context / tiles.positions
    return _Shared(slope, to_query, to_all, rows)


def _slope(inputs: _Inputs, origin, rest, dlam) -> _Slope:
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
    c = jnp.where(spread, -lam * dlam / divisor, 0.0)
    return _Slope(a, -a * rest / n, c, origin)


def _to_x(inputs: _Inputs, point, shared: _Shared, dx_ref):
    """Writes the features' cotangent; returns the sums of the affine's, if any."""
    tiles, params, seen, _, _, options = inputs
    phi = tile.similarity(options)

    def body(number, carry):
        p = point(number)
        ds = shared.slope.at(p)
        _, pull_query = jax.vjp(lambda x: phi(x, seen.query[None]), p.x)
        _, pull_context = jax.vjp(lambda x: phi(x, seen.context[None]), p.x)
        dx = p.dy * p.gate[..., None] + shared.to_all
        dx = dx + pull_query(ds * params.alpha * p.scores.near)[0]
        dx = dx + pull_context(ds * params.beta)[0]
        here = tiles.index(number)[:, None] == seen.place[None]
        dx = dx + jnp.where(here[..., None], shared.to_query, 0.0)
        tiles.write(dx_ref, number, tiles.pull(dx))
        if not tiles.has_affine:
            return carry
        bias, factor = carry
        dx = jnp.where(tiles.real(number)[..., None], dx, 0.0)
        return bias + dx.sum(0), factor + (dx * tiles.centred(number)).sum(0)

    zero = jnp.zeros(tiles.shape, jnp.float32)
    return tiles.over(body, (zero, zero) if tiles.has_affine else 0)
