"""The position encoding's two terms and their derivatives, of one distance."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from prm_flax.prm.functional import LARGEST_DISTANCE


class Density(NamedTuple):
    """D_a = ½ exp(-½ u²) / (d √(2π)) with u = θ Δ / d, and what it moves with.

    Attributes:
        value: D_a, half of eq. 5's term, so that D is the sum of two.
        by_theta: ∂D_a / ∂θ_a.
        by_d: ∂D_a / ∂d.
    """

    value: jax.Array
    by_theta: jax.Array
    by_d: jax.Array


def density(delta: jax.Array, theta: jax.Array, d: jax.Array) -> Density:
    """One axis's share of eq. 5.

    Args:
        delta: Δ ≥ 0, pixels, floating.
        theta: () θ of the axis.
        d: () width, not 0.
    """
    u = theta * delta / d
    inside = jnp.abs(u) < LARGEST_DISTANCE
    u = jnp.clip(u, -LARGEST_DISTANCE, LARGEST_DISTANCE)
    value = jnp.exp(-0.5 * u * u) * (0.5 / math.sqrt(2 * math.pi)) / d
    slope = jnp.where(inside, u, 0.0)
    return Density(value, -value * slope * delta / d, value * (slope * u - 1) / d)
