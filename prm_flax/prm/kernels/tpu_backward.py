"""The backward kernel of a TPU."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from prm_flax.prm.kernels import tpu_block as block
from prm_flax.prm.kernels.options import Options
from prm_flax.prm.kernels.sums import PARAMETERS
from prm_flax.prm.kernels.tpu_forward import Begun, begin
from prm_flax.prm.kernels.tpu_similarity import LANES_SIMILARITIES


def backward_body(each: int, images: int, has_affine: bool, options: Options, *refs):
    """refs: θ and d, α β λ ξ, affine?, features, dy, y?; dx, sums; dS, the scores.

    Three passes: to the normalised scores; to what all positions share; to x.
    """
    begun, (dy_ref, *y_ref, dx_ref, sums_ref, ds_ref) = begin(
        each, has_affine, options, refs
    )
    params, moments = begun.params, begun.moments
    h, w, *_ = dy_ref.shape
    zero = block.zeros(dy_ref)

    def cotangent(row):
        dy = dy_ref[row].astype(jnp.float32)
        for ref in y_ref:
            dy = jnp.where(ref[row].astype(jnp.float32) > 0, dy, 0.0)
        return dy

    def gate_of(row):
        normed = (begun.s_ref[row] - moments.mean) * moments.inverse
        return normed, jax.nn.sigmoid(params.lam * normed + params.xi)

    def to_normed(row, carry):
        dxi, dlam = carry
        normed, gate = gate_of(row)
        du = begun.total(begun.features.wide(row) * cotangent(row)) * gate * (1 - gate)
        ds_ref[row] = du
        return dxi + du.sum(0), dlam + (du * normed).sum(0)

    dxi, dlam = block.over_rows(h, to_normed, (zero, zero))
    slope = _through_moments(params.lam, dxi, dlam, moments, h * w, options)
    shared = _to_shared(ds_ref, begun, slope, options)
    found = [*shared.parameters[:2], dlam, dxi, *shared.parameters[2:]]
    found += _to_x(cotangent, dx_ref, ds_ref, begun, shared, gate_of, options)
    _write_sums(sums_ref, found, images)


def _write_sums(sums_ref, found, images: int):
    """Sums over the block's images; those past the last are not numbers."""
    b = found[0].shape[0]
    image = pl.program_id(0) * b + lax.broadcasted_iota(jnp.int32, found[0].shape, 0)
    for i, each in enumerate(found):
        kept = jnp.where(image < images, each, 0.0)
        sums_ref[i : i + 1] = kept.sum(0, keepdims=True)
    rest = sums_ref.shape[0] - len(found)
    sums_ref[len(found) :] = jnp.zeros((rest, sums_ref.shape[1]), jnp.float32)


class Slope(NamedTuple):
    """dS = by_du · du + constant + by_deviation · (S - μ), each (b, l)."""

    by_du: jax.Array
    constant: jax.Array
    by_deviation: jax.Array


def _through_moments(lam, dxi, dlam, moments, n, options) -> Slope:
    if not options.normalize:
        return Slope(lam, 0.0 * lam, 0.0 * lam)
    if n == 1:  # T is 0 whatever S is; 1/ε would lift rounding errors
        nothing = 0.0 * lam
        return Slope(nothing, nothing, nothing)
    spread = moments.sigma > 0
    divisor = jnp.where(spread, moments.sigma, 1.0) * max(n - options.ddof, 1)
    by_deviation = jnp.where(spread, -lam * dlam * moments.inverse / divisor, 0.0)
    by_du = lam * moments.inverse
    return Slope(by_du, -by_du * dxi / n, by_deviation)


class Shared(NamedTuple):
    """Cotangents of the query and the context (b, l), and sums for the parameters."""

    query: jax.Array
    context: jax.Array
    parameters: list[jax.Array]


def _to_shared(ds_ref, begun: Begun, slope: Slope, options: Options) -> Shared:
    """Puts dS in the place of du, and sums what goes to all positions alike."""
    features, params, total, seen, moments, s_ref = begun
    phi = LANES_SIMILARITIES[options.similarity]

    def body(row, carry):
        x = features.wide(row)
        ds = slope.by_du * ds_ref[row] + slope.constant
        ds = ds + slope.by_deviation * (s_ref[row] - moments.mean)
        ds_ref[row] = ds
        near = block.nearness(row, x.shape, seen, params, options)
        by_query = ds * phi.summand(x, seen.query, total)
        by_context = ds * phi.summand(x, seen.context, total)
        _, to_query = phi.pull(x, seen.query, ds * params.alpha * near, total)
        _, to_context = phi.pull(x, seen.context, ds * params.beta, total)
        found = [to_query, to_context, near * by_query, by_context]
        if options.position:
            down, across = block.encoding(row, x.shape, seen, params)
            found += [down.by_theta * by_query, across.by_theta * by_query]
            found += [(down.by_d + across.by_d) * by_query]
        return tuple(
            sum_ + each.sum(0) for sum_, each in zip(carry, found, strict=True)
        )

    zero = block.zeros(ds_ref)
    count = PARAMETERS if options.position else PARAMETERS - 3
    query, context, *sums = block.over_rows(ds_ref.shape[0], body, (zero,) * count)
    alpha, beta, *shared = (total(each) for each in sums)
    shared = [params.alpha * each for each in shared] or [zero] * 3
    return Shared(query, context, [alpha, beta, *shared])


def _to_x(cotangent, dx_ref, ds_ref, begun: Begun, shared: Shared, gate_of, options):
    """Writes the features' cotangent; returns the sums of the affine's, if any."""
    features, params, total, seen, *_ = begun
    h, w, *_ = dx_ref.shape
    phi = LANES_SIMILARITIES[options.similarity]
    column = lax.broadcasted_iota(jnp.int32, dx_ref.shape[1:], 0)

    def body(row, carry):
        x, dy = features.wide(row), cotangent(row)
        near = block.nearness(row, x.shape, seen, params, options)
        ds = ds_ref[row]
        by_query, _ = phi.pull(x, seen.query, ds * params.alpha * near, total)
        by_context, _ = phi.pull(x, seen.context, ds * params.beta, total)
        here = (column == seen.column) & (seen.row == row)
        dx = dy * gate_of(row)[1] + by_query + by_context + shared.context / (h * w)
        dx = dx + jnp.where(here, shared.query, 0.0)
        dx_ref[row] = features.pull(dx).astype(dx_ref.dtype)
        if features.affine is None:
            return carry
        bias, factor = carry
        return bias + dx.sum(0), factor + (dx * features.centred(row)).sum(0)

    carry = () if features.affine is None else (block.zeros(dx_ref),) * 2
    return block.over_rows(h, body, carry)
