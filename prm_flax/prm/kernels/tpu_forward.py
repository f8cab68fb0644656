"""The forward kernel of a TPU, and how both kernels begin."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from prm_flax.prm.kernels import tpu_block as block
from prm_flax.prm.kernels.options import Options


class Begun(NamedTuple):
    """What both kernels know of their block once its scores are written."""

    features: block.Features
    params: block.Unpacked
    total: block.Total
    seen: block.Look
    moments: block.Moments
    s_ref: jax.Array


def begin(each: int, has_affine: bool, options: Options, refs):
    """Takes what both kernels are given off the front of refs, and writes the scores.

    Returns:
        `Begun`, and the other refs but the last, which holds the scores.
    """
    shared, four, *refs, s_ref = refs
    affine_ref = refs.pop(0) if has_affine else None
    x_ref, *refs = refs
    params = block.Unpacked(
        *(four[i : i + 1] for i in range(4)), *(shared[i] for i in range(3))
    )
    features = block.Features(x_ref, affine_ref)
    total = block.totals(each, x_ref.shape[-1], x_ref.dtype)
    seen = block.look(features, total)
    block.score(features, s_ref, seen, params, total, options)
    moments = block.moments(s_ref, options)
    return Begun(features, params, total, seen, moments, s_ref), refs


def forward_body(each: int, images: int, has_affine: bool, options: Options, *refs):
    """refs: θ and d, α β λ ξ, affine?, features, identity?; y; the scores."""
    begun, (*identity, y_ref) = begin(each, has_affine, options, refs)
    features, params, moments = begun.features, begun.params, begun.moments
    scale = params.lam * moments.inverse

    def body(row, carry):
        gate = jax.nn.sigmoid((begun.s_ref[row] - moments.mean) * scale + params.xi)
        # Rounded where separate operations would write it.
        y = (features.wide(row) * gate).astype(y_ref.dtype).astype(jnp.float32)
        for ref in identity:
            y = y + ref[row].astype(jnp.float32)
        y_ref[row] = (jnp.maximum(y, 0.0) if options.relu else y).astype(y_ref.dtype)
        return carry

    block.over_rows(y_ref.shape[0], body, 0)
