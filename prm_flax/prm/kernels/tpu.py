"""PRM on a TPU: one kernel forward and one backward."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from prm_flax.prm.functional import PRMParams
from prm_flax.prm.kernels import tpu_block as block
from prm_flax.prm.kernels.options import Options
from prm_flax.prm.kernels.tpu_similarity import LANES_SIMILARITIES
from prm_flax.prm.numerics import SMALLEST_D

# Images and channels of a block: a register is 8 × 128.
IMAGES, LANES = 8, 128
# Of the chip's memory next to its registers; a v5e, v5p or v6e has 128 MiB.
MEMORY = 100 << 20


def fits(shape: tuple[int, ...], itemsize: int, groups: int) -> bool:
    """Whether the blocks of x (..., h, w, c) fit, backward too."""
    h, w, channels = shape[-3:]
    lanes = _lanes(channels, groups)
    if lanes is None:
        return False
    # x, dy and dx, each twice as the next block is on its way; two arrays of float32.
    return h * w * IMAGES * lanes * (3 * 2 * itemsize + 2 * 4) <= MEMORY


def _lanes(channels: int, groups: int) -> int | None:
    """Channels of a block: whole groups and whole registers, or all; None: too many."""
    if channels <= LANES:
        return channels
    each = channels // groups
    for lanes in range(LANES, 4 * LANES + 1, LANES):
        if channels % lanes == 0 and lanes % each == 0:
            return lanes
    return channels if channels <= 4 * LANES else None


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def recalibrate_on_tpu(
    x: jax.Array, params: PRMParams, options: Options, interpret: bool = False
) -> jax.Array:
    """`recalibrate` of x (b, h, w, c) in float32 or half precision.

    x and y move once between the chip and its main memory, and in the gradient x, dy
    and dx; the gradient keeps nothing but x and the parameters.

    Args:
        x: features that `fits`.
        params: of PRM.
        options: of PRM.
        interpret: run on any machine, slowly.
    """
    (y,) = _call(_forward, x, params, options, interpret)
    return y


def _keep(x, params, options, interpret):
    return recalibrate_on_tpu(x, params, options, interpret), (x, params)


def _pull(options, interpret, kept, dy):
    x, params = kept
    dx, sums = _call(_backward, x, params, options, interpret, dy)
    each = x.shape[-1] // params.alpha.shape[0]
    alpha, beta, lam, xi, *shared = sums.sum(1)[:, ::each]
    row, column, d = (part.sum() for part in shared[:3])
    moved = jnp.abs(params.d) >= SMALLEST_D  # nearer to 0 the derivative counts as 0
    found = (alpha, beta, lam, xi, jnp.stack([row, column]), jnp.where(moved, d, 0.0))
    typed = (a.astype(b.dtype) for a, b in zip(found, params, strict=True))
    return dx, PRMParams(*typed)


recalibrate_on_tpu.defvjp(_keep, _pull)


class Kernel(NamedTuple):
    """A kernel: its body, whether it takes dy and gives sums, arrays it works in."""

    body: object
    backward: bool
    work: int


def _call(kernel: Kernel, x, params: PRMParams, options, interpret, *more):
    """Runs a kernel over blocks of x (b, h, w, c) and whatever has its shape."""
    b, h, w, channels = x.shape
    groups = params.alpha.shape[0]
    lanes, images = _lanes(channels, groups), min(IMAGES, b)
    shape = (h, w, images, lanes)
    features = pl.BlockSpec(shape, lambda i, j: (0, 0, i, j))
    vector = pl.BlockSpec((1, lanes), lambda i, j: (0, j))
    sums = pl.BlockSpec((8, images, lanes), lambda i, j: (0, i, j))
    results = [jax.ShapeDtypeStruct((h, w, b, channels), x.dtype)]
    if kernel.backward:
        results.append(jax.ShapeDtypeStruct((8, b, channels), jnp.float32))
    # The axes as the chip has them: for features of its convolutions no copy.
    arrays = [array.transpose(1, 2, 0, 3) for array in (x, *more)]
    outputs = pl.pallas_call(
        functools.partial(kernel.body, channels // groups, options),
        grid=(pl.cdiv(b, images), channels // lanes),
        in_specs=[
            pl.BlockSpec(memory_space=pltpu.SMEM),
            *[vector] * 4,
            *[features] * len(arrays),
        ],
        out_specs=[features, sums][: len(results)],
        out_shape=results,
        scratch_shapes=[pltpu.VMEM(shape, jnp.float32)] * kernel.work,
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel"), vmem_limit_bytes=MEMORY
        ),
        interpret=interpret,
    )(*_spread(params, channels // groups), *arrays)
    return outputs[0].transpose(2, 0, 1, 3), *outputs[1:]


def _spread(params: PRMParams, each: int) -> tuple[jax.Array, ...]:
    """θ and d as three numbers; the others on each channel of their group."""
    params = PRMParams(*(leaf.astype(jnp.float32) for leaf in params))
    sign = jnp.where(params.d < 0, -1.0, 1.0)
    d = jnp.where(jnp.abs(params.d) < SMALLEST_D, sign * SMALLEST_D, params.d)
    four = (params.alpha, params.beta, params.lam, params.xi)
    return (
        jnp.concatenate([params.theta, d[None]]),
        *(jnp.repeat(leaf, each)[None] for leaf in four),
    )


def _begin(each: int, options: Options, refs, x_ref, s_ref):
    """What both kernels need to know of the block; writes its scores."""
    shared, *four = refs
    weights = block.Weights(*(ref[...] for ref in four), *(shared[i] for i in range(3)))
    total = block.totals(each, x_ref.shape[-1])
    seen = block.look(x_ref, total)
    block.score(x_ref, s_ref, seen, weights, total, options)
    return weights, total, seen, block.moments(s_ref, options)


def _forward_body(each, options, *refs):
    *parameters, x_ref, y_ref, s_ref = refs
    weights, _, _, scores = _begin(each, options, parameters, x_ref, s_ref)
    scale = weights.lam * scores.inverse

    def body(row, carry):
        gate = jax.nn.sigmoid((s_ref[row] - scores.mean) * scale + weights.xi)
        y = x_ref[row].astype(jnp.float32) * gate
        y_ref[row] = y.astype(y_ref.dtype)
        return carry

    block.over_rows(x_ref.shape[0], body, 0)


def _backward_body(each, options, *refs):
    """Three passes: to the normalised scores; to what all positions share; to x."""
    *parameters, x_ref, dy_ref, dx_ref, sums_ref, s_ref, ds_ref = refs
    begun = _begin(each, options, parameters, x_ref, s_ref)
    weights, total, seen, scores = begun
    h, w, *_ = x_ref.shape
    zero = block.zeros(x_ref)

    def gate_of(row):
        normed = (s_ref[row] - scores.mean) * scores.inverse
        return normed, jax.nn.sigmoid(weights.lam * normed + weights.xi)

    def to_normed(row, carry):
        dxi, dlam = carry
        normed, gate = gate_of(row)
        x, dy = (ref[row].astype(jnp.float32) for ref in (x_ref, dy_ref))
        du = total(x * dy) * gate * (1 - gate)
        ds_ref[row] = du
        return dxi + du.sum(0), dlam + (du * normed).sum(0)

    dxi, dlam = block.over_rows(h, to_normed, (zero, zero))
    slope = _through_moments(weights.lam, dxi, dlam, scores, h * w, options)
    shared = _to_shared(x_ref, s_ref, ds_ref, begun, slope, options)
    results = (*shared.parameters[:2], dlam, dxi, *shared.parameters[2:])
    for i, result in enumerate(results):
        sums_ref[i] = result
    _to_x(x_ref, dy_ref, dx_ref, ds_ref, begun, shared, gate_of, options)


class Slope(NamedTuple):
    """dS = by_du · du + constant + by_deviation · (S - μ), each (b, l)."""

    by_du: jax.Array
    constant: jax.Array
    by_deviation: jax.Array


def _through_moments(lam, dxi, dlam, scores, n, options) -> Slope:
    if not options.normalize:
        return Slope(lam, 0.0 * lam, 0.0 * lam)
    if n == 1:  # T is 0 whatever S is; 1/ε would lift rounding errors
        return Slope(*(0.0 * lam,) * 3)
    spread = scores.sigma > 0
    divisor = jnp.where(spread, scores.sigma, 1.0) * max(n - options.ddof, 1)
    by_deviation = jnp.where(spread, -lam * dlam * scores.inverse / divisor, 0.0)
    by_du = lam * scores.inverse
    return Slope(by_du, -by_du * dxi / n, by_deviation)


class Shared(NamedTuple):
    """Cotangents of the query and the context (b, l), and sums for the parameters."""

    query: jax.Array
    context: jax.Array
    parameters: tuple[jax.Array, ...]


def _to_shared(x_ref, s_ref, ds_ref, begun, slope: Slope, options) -> Shared:
    """Puts dS in the place of du, and sums what goes to all positions alike."""
    weights, total, seen, scores = begun
    phi = LANES_SIMILARITIES[options.similarity]

    def body(row, carry):
        x = x_ref[row].astype(jnp.float32)
        ds = slope.by_du * ds_ref[row] + slope.constant
        ds = ds + slope.by_deviation * (s_ref[row] - scores.mean)
        ds_ref[row] = ds
        near = block.nearness(row, x.shape, seen, weights, options)
        by_query = ds * phi.summand(x, seen.query, total)
        by_context = ds * phi.summand(x, seen.context, total)
        _, to_query = phi.pull(x, seen.query, ds * weights.alpha * near, total)
        _, to_context = phi.pull(x, seen.context, ds * weights.beta, total)
        found = [to_query, to_context, near * by_query, by_context]
        if options.position:
            down, across = block.encoding(row, x.shape, seen, weights)
            found += [down.by_theta * by_query, across.by_theta * by_query]
            found += [(down.by_d + across.by_d) * by_query]
        return tuple(
            sum_ + each.sum(0) for sum_, each in zip(carry, found, strict=True)
        )

    zero = block.zeros(x_ref)
    count = 7 if options.position else 4
    query, context, *sums = block.over_rows(x_ref.shape[0], body, (zero,) * count)
    alpha, beta, *shared = (total(each) for each in sums)
    shared = [weights.alpha * each for each in shared] or [zero] * 3
    return Shared(query, context, (alpha, beta, *shared, zero))


def _to_x(x_ref, dy_ref, dx_ref, ds_ref, begun, shared, gate_of, options):
    weights, total, seen, _ = begun
    h, w, *_ = x_ref.shape
    phi = LANES_SIMILARITIES[options.similarity]
    column = lax.broadcasted_iota(jnp.int32, x_ref.shape[1:], 0)

    def body(row, carry):
        x, dy = (ref[row].astype(jnp.float32) for ref in (x_ref, dy_ref))
        near = block.nearness(row, x.shape, seen, weights, options)
        ds = ds_ref[row]
        by_query, _ = phi.pull(x, seen.query, ds * weights.alpha * near, total)
        by_context, _ = phi.pull(x, seen.context, ds * weights.beta, total)
        here = (column == seen.column) & (seen.row == row)
        dx = dy * gate_of(row)[1] + by_query + by_context + shared.context / (h * w)
        dx = dx + jnp.where(here, shared.query, 0.0)
        dx_ref[row] = dx.astype(dx_ref.dtype)
        return carry

    block.over_rows(h, body, 0)


_forward = Kernel(_forward_body, backward=False, work=1)
_backward = Kernel(_backward_body, backward=True, work=2)
