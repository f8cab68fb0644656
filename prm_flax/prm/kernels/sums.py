"""Sums over positions: the mean they make, and the cotangents."""

import jax
import jax.numpy as jnp

from prm_flax.layers.norm import Affine
from prm_flax.prm.functional import SMALLEST_D, PRMParams

# Rows of the array of sums: dα dβ dλ dξ dθ_row dθ_column dd of the groups, then the
# affine's dbias and dfactor of the channels; the rest is padding to whole registers.
PARAMETERS, AFFINE, ROWS = 7, 2, 16


def pack(params: PRMParams) -> tuple[jax.Array, jax.Array]:
    """θ, d and a 0 as (4,); α, β, λ and ξ as (4, g): float32, d kept off 0."""
    params = PRMParams(*(leaf.astype(jnp.float32) for leaf in params))
    sign = jnp.where(params.d < 0, -1.0, 1.0)
    d = jnp.where(jnp.abs(params.d) < SMALLEST_D, sign * SMALLEST_D, params.d)
    shared = jnp.concatenate([params.theta, jnp.stack([d, jnp.zeros_like(d)])])
    return shared, jnp.stack([params.alpha, params.beta, params.lam, params.xi])


def position_mean(first: jax.Array, rest: jax.Array, positions: int) -> jax.Array:
    """The mean of x, exact where `functional.mean` is, whatever a chip's division is.

    Args:
        first: x at the first position, float32.
        rest: the sum of x - first.
        positions: how many.
    """
    return jnp.where(first * positions + rest == 0, 0.0, first + rest / positions)


def to_params(sums: jax.Array, params: PRMParams) -> PRMParams:
    """(7, g) sums -> the parameters' cotangents, in their dtypes."""
    alpha, beta, lam, xi, *shared = sums
    row, column, d = (part.sum() for part in shared)
    moved = jnp.abs(params.d) >= SMALLEST_D  # nearer to 0 the derivative counts as 0
    found = (alpha, beta, lam, xi, jnp.stack([row, column]), jnp.where(moved, d, 0.0))
    typed = (a.astype(b.dtype) for a, b in zip(found, params, strict=True))
    return PRMParams(*typed)


def to_affine(bias: jax.Array, factor: jax.Array, affine: Affine) -> Affine:
    """Σ dx and Σ dx (features - mean) of the runs, (r, C) -> cotangents."""
    found = -affine.factor * bias, factor, bias.sum(0)
    return Affine(*(a.astype(b.dtype) for a, b in zip(found, affine, strict=True)))
