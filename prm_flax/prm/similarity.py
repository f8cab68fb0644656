"""The three similarities φ of section 3.1, in a table.

Each takes positions (..., n, g, c) and a vector a group, (..., 1 or n, g, c), and
returns (..., n, g). `total` sums over c.
"""

from collections.abc import Callable
from types import MappingProxyType

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from prm_flax.prm.groups import group_sum
from prm_flax.prm.numerics import absolute, norm

Similarity = Callable[..., Array]
Total = Callable[[Array], Array]

# Paper, below eq. 2.
COSINE_EPSILON = 1e-8


def dot(
    x: Float[Array, "*b n g c"],
    v: Float[Array, "*b #n g c"],
    total: Total = group_sum,
) -> Float[Array, "*b n g"]:
    """Dot product x·v, eq. 4."""
    return total(x * v)


def l1(
    x: Float[Array, "*b n g c"],
    v: Float[Array, "*b #n g c"],
    total: Total = group_sum,
) -> Float[Array, "*b n g"]:
    """Negative L1 distance -Σ_c |x^c - v^c|, eq. 3."""
    return -total(absolute(x - v))


def cosine(
    x: Float[Array, "*b n g c"],
    v: Float[Array, "*b #n g c"],
    total: Total = group_sum,
) -> Float[Array, "*b n g"]:
    """Cosine x·v / max(‖x‖‖v‖, ε), eq. 2, with gradient 0 where the max is ε.

    There the literal derivative is v/ε, up to 1e8 times the signal of a position
    that carries none.
    """
    product = norm(x, total) * norm(v, total)
    inner = dot(x, v, total)
    defined = product > COSINE_EPSILON
    return jnp.where(
        defined,
        inner / jnp.where(defined, product, 1.0),
        lax.stop_gradient(inner) / COSINE_EPSILON,
    )


SIMILARITIES: MappingProxyType[str, Similarity] = MappingProxyType(
    {"dot": dot, "l1": l1, "cosine": cosine}
)
