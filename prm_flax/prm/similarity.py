"""The three similarities φ of section 3.1, in a table.

Each takes positions (..., n, g, c) and a vector a group, (..., 1 or n, g, c), and
returns (..., n, g). `total` sums over c.
"""

from collections.abc import Callable
from types import MappingProxyType

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Similarity = Callable[..., Array]
Total = Callable[[Array], Array]

# Paper, below eq. 2.
COSINE_EPSILON = 1e-8


def sum_of_channels(x: Float[Array, "*b c"]) -> Float[Array, "*b"]:
    """The sum over the last axis."""
    return jnp.sum(x, axis=-1)


def absolute(u: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """|u| with derivative 0 at 0 (jnp.abs has 1 there, the official code 0)."""
    return u * lax.stop_gradient(jnp.sign(u))


def norm(x: Float[Array, "*b c"], total: Total = sum_of_channels) -> Float[Array, "*b"]:
    """Euclidean norm over the last axis, with derivative 0 at the zero vector."""
    square = total(x * x)
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)


def dot(
    x: Float[Array, "*b n g c"],
    v: Float[Array, "*b #n g c"],
    total: Total = sum_of_channels,
) -> Float[Array, "*b n g"]:
    """Dot product x·v, eq. 4."""
    return total(x * v)


def l1(
    x: Float[Array, "*b n g c"],
    v: Float[Array, "*b #n g c"],
    total: Total = sum_of_channels,
) -> Float[Array, "*b n g"]:
    """Negative L1 distance -Σ_c |x^c - v^c|, eq. 3."""
    return -total(absolute(x - v))


def cosine(
    x: Float[Array, "*b n g c"],
    v: Float[Array, "*b #n g c"],
    total: Total = sum_of_channels,
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
