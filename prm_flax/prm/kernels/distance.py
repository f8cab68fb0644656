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
    # Of scalars, once: a division of every position's number costs ten products.
    inverse = 1 / d
    u = delta * jnp.clip(theta * inverse, -_LARGEST, _LARGEST)
    value = jnp.exp2(u * (u * _TO_EXPONENT)) * (_TO_VALUE * inverse)
    slope = jnp.where(jnp.abs(u) < LARGEST_DISTANCE, u, 0.0)
    by_theta = -value * slope * delta * inverse
    return Density(value, by_theta, value * (slope * u - 1) * inverse)


# -½ u² as the exponent of 2; D_a at no distance, times d.
_TO_EXPONENT, _TO_VALUE = -0.5 * math.log2(math.e), 0.5 / math.sqrt(2 * math.pi)
# Times any distance it is finite, and times 0 it is 0.
_LARGEST = 1e30
