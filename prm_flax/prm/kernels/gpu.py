"""PRM on a GPU: one kernel forward and one backward."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from prm_flax.prm.functional import PRMParams
from prm_flax.prm.kernels import gpu_tiles as tile
from prm_flax.prm.kernels.options import Options
from prm_flax.prm.numerics import SMALLEST_D
from prm_flax.prm.similarity import SIMILARITIES

# Numbers of x that one program keeps in registers, and positions of a tile where the
# map is larger.
KEPT, STREAMED = 1 << 14, 64
# Channels of a program: 16 of two bytes fill the 32 that a GPU moves at once.
CHANNELS = (64, 32, 16)
WARPS = 8


class Plan(NamedTuple):
    """Groups of a program, and positions of a tile."""

    groups: int
    tile: int


def plan(shape: tuple[int, ...], groups: int) -> Plan | None:
    """How x (..., h, w, c) is shared among programs; None if it cannot be."""
    h, w, channels = shape[-3:]
    each = channels // groups
    if each & (each - 1) or groups & (groups - 1):
        return None  # the language's arrays are of powers of two
    whole = 1 << (h * w - 1).bit_length()
    counts = [min(max(number // each, 1), groups) for number in CHANNELS]
    for count in counts:
        if whole * count * each <= KEPT:
            return Plan(count, max(whole, 16))
    return Plan(counts[0], STREAMED)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def recalibrate_on_gpu(
    x: jax.Array, params: PRMParams, options: Options, interpret: bool = False
) -> jax.Array:
    """`recalibrate` of x (b, h, w, c) in float32 or half precision.

    A small map's x and y move once between the chip and its memory, and in the gradient
    x, dy and dx. A larger map is read three times forward, and twice in the gradient,
    which is then linear in three sums that one pass takes.

    Args:
        x: features that have a `plan`.
        params: of PRM.
        options: of PRM.
        interpret: run on any machine, slowly.
    """
    return _keep(x, params, options, interpret)[0]


def _keep(x, params, options, interpret):
    body = functools.partial(_forward, options)
    y, *seen = _call(body, x, params, interpret, ("features", "index", "pair", "two"))
    return y.reshape(x.shape), (x, params, seen)


def _pull(options, interpret, kept, dy):
    x, params, seen = kept
    body = functools.partial(_backward, options)
    names = ("features", "sums")
    dx, sums = _call(body, x, params, interpret, names, (dy,), seen)
    alpha, beta, lam, xi, *shared = sums.sum(0)
    row, column, d = (part.sum() for part in shared[:3])
    moved = jnp.abs(params.d) >= SMALLEST_D  # nearer to 0 the derivative counts as 0
    found = (alpha, beta, lam, xi, jnp.stack([row, column]), jnp.where(moved, d, 0.0))
    typed = (a.astype(b.dtype) for a, b in zip(found, params, strict=True))
    return dx.reshape(x.shape), PRMParams(*typed)


recalibrate_on_gpu.defvjp(_keep, _pull)


def _call(body, x, params: PRMParams, interpret, outputs, more=(), seen=()):
    """Runs a kernel: a program for each image and some groups."""
    b, h, w, channels = x.shape
    g = params.alpha.shape[0]
    c, planned = channels // g, plan(x.shape, g)
    assert planned is not None
    count, n = planned.groups, h * w
    kinds = {
        # Name -> block, its place in the array's last axes, shape and dtype of it all.
        "features": ((n, count, c), (0, None, 0), (n, g, c), x.dtype),
        "index": ((count,), (None,), (g,), jnp.int32),
        "pair": ((2, count, c), (0, None, 0), (2, g, c), jnp.float32),
        "two": ((2, count), (0, None), (2, g), jnp.float32),
        "sums": ((8, count), (0, None), (8, g), jnp.float32),
    }
    specs = {name: _spec(*kind[:2]) for name, kind in kinds.items()}
    shared = pl.BlockSpec((4,), lambda i, j: (0,))
    four = pl.BlockSpec((4, count), lambda i, j: (0, j))
    features = [array.reshape(b, n, g, c) for array in (x, *more)]
    names = ["index", "pair", "two"][: len(seen)] + ["features"] * len(features)
    return pl.pallas_call(
        functools.partial(body, (h, w), planned.tile),
        grid=(b, g // count),
        in_specs=[shared, four, *(specs[name] for name in names)],
        out_specs=[specs[name] for name in outputs],
        out_shape=[
            jax.ShapeDtypeStruct((b, *kinds[name][2]), kinds[name][3])
            for name in outputs
        ],
        compiler_params=triton.CompilerParams(num_warps=WARPS, num_stages=1),
        interpret=interpret,
    )(*_packed(params), *seen, *features)


def _spec(block, place) -> pl.BlockSpec:
    """The j-th share of the groups of the i-th image."""

    def where(i, j):
        return (i, *(j if axis is None else 0 for axis in place))

    return pl.BlockSpec((None, *block), where)


def _packed(params: PRMParams) -> tuple[jax.Array, jax.Array]:
    """θ, d and a 0; α, β, λ and ξ."""
    params = PRMParams(*(leaf.astype(jnp.float32) for leaf in params))
    sign = jnp.where(params.d < 0, -1.0, 1.0)
    d = jnp.where(jnp.abs(params.d) < SMALLEST_D, sign * SMALLEST_D, params.d)
    shared = jnp.concatenate([params.theta, jnp.stack([d, jnp.zeros_like(d)])])
    return shared, jnp.stack([params.alpha, params.beta, params.lam, params.xi])


def _weights(shared, four) -> tile.Weights:
    return tile.Weights(*(four[i] for i in range(4)), *(shared[i] for i in range(3)))


def _forward(options, size, tile_, shared, four, x_ref, y_ref, index, pair, two):
    weights = _weights(shared, four)
    tiles = tile.Tiles([x_ref], size, tile_)
    seen = tile.look(tiles, x_ref.shape[1:])

    def score(number):
        (x,) = tiles.get(number)
        return tile.scores(tiles, number, x, seen, weights, options).score

    moments = tile.moments(tiles, score, x_ref.shape[1], options)

    def body(number, carry):
        normed = moments.normed(score(number))
        gate = tile.sigmoid(weights.lam * normed + weights.xi)
        tiles.write(y_ref, number, tiles.get(number)[0] * gate[..., None])
        return carry

    tiles.over(body, 0)
    index[...] = seen.index
    pair[0], pair[1] = seen.query, seen.context
    two[0], two[1] = moments


class _Point(NamedTuple):
    """What the gradient needs of a tile: (tile, g, c) twice, then (tile, g)."""

    x: jax.Array
    dy: jax.Array
    scores: tile.Scores
    normed: jax.Array
    gate: jax.Array
    du: jax.Array


def _backward(
    options, size, tile_, packed, four, index, pair, two, x_ref, dy_ref, dx_ref, sums
):
    """Two passes: sums that all positions share; then dx.

    dS = a du + b + c T with numbers a, b, c of a group that are known only after the
    first pass. What is linear in dS is therefore summed for du, 1 and T apart; du less
    its first value, so that little cancels where it hardly varies.
    """
    weights = _weights(packed, four)
    tiles = tile.Tiles([x_ref, dy_ref], size, tile_)
    seen = tile.Look(index[...], pair[0], pair[1])
    moments = tile.Moments(two[0], two[1])
    phi = SIMILARITIES[options.similarity]

    def make_point(number) -> _Point:
        x, dy = tiles.get(number)
        made = tile.scores(tiles, number, x, seen, weights, options)
        normed = jnp.where(tiles.real(number), moments.normed(made.score), 0.0)
        gate = tile.sigmoid(weights.lam * normed + weights.xi)
        return _Point(x, dy, made, normed, gate, (x * dy).sum(-1) * gate * (1 - gate))

    only = make_point(0) if tiles.count == 1 else None

    def point(number) -> _Point:
        return only or make_point(number)

    def first(number, carry):
        p, (origin, *carry) = point(number), carry
        at_first = (tiles.index(number) == 0)[:, None]
        origin = origin + jnp.where(at_first, p.du, 0.0).sum(0)
        du = jnp.where(tiles.real(number), p.du - origin, 0.0)
        _, to_query = jax.vjp(lambda v: phi(p.x, v), seen.query[None])
        _, to_context = jax.vjp(lambda v: phi(p.x, v), seen.context[None])
        made = p.scores
        factors = [made.near * made.by_query, made.by_context]
        if made.densities:
            down, across = made.densities
            factors += [down.by_theta * made.by_query, across.by_theta * made.by_query]
            factors += [(down.by_d + across.by_d) * made.by_query]
        found = []
        for slope in (du, tiles.real(number).astype(jnp.float32), p.normed):
            slope = jnp.broadcast_to(slope, p.du.shape)
            found.append(to_query(slope * made.near)[0][0])
            found.append(to_context(slope)[0][0])
            found += [(slope * factor).sum(0) for factor in factors]
        found += [du.sum(0), (p.du * p.normed).sum(0)]
        return [origin, *(a + b for a, b in zip(carry, found, strict=True))]

    groups, c = x_ref.shape[1:]
    vector, number = jnp.zeros((groups, c), jnp.float32), jnp.zeros((groups,))
    scalars = 5 if options.position else 2
    kind = [vector, vector, *[number] * scalars]
    origin, *parts, rest, dlam = tiles.over(first, [number, *kind * 3, number, number])
    n = tiles.positions
    dxi = rest + n * origin
    a, b, c_ = _slope(weights.lam, rest, dlam, moments, n, options)
    b = b + a * origin if not options.normalize else b
    size_ = len(kind)
    by_du, by_one, by_normed = (parts[i * size_ : (i + 1) * size_] for i in range(3))
    joined = []
    for u, o, t in zip(by_du, by_one, by_normed, strict=True):
        lift = (slice(None),) + (None,) * (u.ndim - 1)
        joined.append(a[lift] * u + b[lift] * o + c_[lift] * t)
    to_query, to_context, dalpha, dbeta, *shared = joined
    results = [dalpha, dbeta, dlam, dxi, *(weights.alpha * each for each in shared)]
    for i in range(8):
        sums[i] = results[i] if i < len(results) else number
    to_query = weights.alpha[:, None] * to_query
    to_all = weights.beta[:, None] * to_context / n

    def second(number, carry):
        p = point(number)
        ds = a * (p.du - origin) + b + c_ * p.normed
        _, pull_query = jax.vjp(lambda x: phi(x, seen.query[None]), p.x)
        _, pull_context = jax.vjp(lambda x: phi(x, seen.context[None]), p.x)
        dx = p.dy * p.gate[..., None] + to_all
        dx = dx + pull_query(ds * weights.alpha * p.scores.near)[0]
        dx = dx + pull_context(ds * weights.beta)[0]
        here = tiles.index(number)[:, None] == seen.index[None]
        tiles.write(dx_ref, number, dx + jnp.where(here[..., None], to_query, 0.0))
        return carry

    tiles.over(second, 0)


def _slope(lam, dxi, dlam, moments, n, options):
    """a, b, c (g,) of dS = a du + b + c T."""
    if not options.normalize:
        return lam, 0.0 * lam, 0.0 * lam
    if n == 1:  # T is 0 whatever S is; 1/ε would lift rounding errors
        return 0.0 * lam, 0.0 * lam, 0.0 * lam
    spread = moments.sigma > 0
    divisor = jnp.where(spread, moments.sigma, 1.0) * max(n - options.ddof, 1)
    a = lam * moments.inverse
    return a, -a * dxi / n, jnp.where(spread, -lam * dlam / divisor, 0.0)
