"""The similarities on lanes: see `tpu_block` for what (w, b, l) and `total` are."""

from collections.abc import Callable
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp

from prm_flax.prm.similarity import COSINE_EPSILON


class LanesSimilarity(NamedTuple):
    """φ of positions (w, b, l) and one vector a group (b, l).

    Attributes:
        summand: `(x, v, total) -> e` with φ = total(e).
        pull: `(x, v, weight, total) -> (to_x, to_v)`: what φ's cotangent (w, b, l), the
            same on a group's lanes, becomes at x and, before the sum over positions, v.
    """

    summand: Callable[..., jax.Array]
    pull: Callable[..., tuple[jax.Array, jax.Array]]


def _dot(x, v, total):
    return x * v


def _pull_dot(x, v, weight, total):
    return weight * v, weight * x


def _l1(x, v, total):
    return -jnp.abs(x - v)


def _pull_l1(x, v, weight, total):
    slope = weight * jnp.sign(x - v)
    return -slope, slope


def _cosine(x, v, total):
    return x * v / jnp.maximum(_norm(x, total) * _norm(v, total), COSINE_EPSILON)


def _pull_cosine(x, v, weight, total):
    long_x, long_v = _norm(x, total), _norm(v, total)
    defined = long_x * long_v > COSINE_EPSILON
    product = jnp.where(defined, long_x * long_v, 1.0)
    weight = jnp.where(defined, weight, 0.0)
    phi = weight * total(x * v) / product
    square_x = jnp.where(defined, long_x * long_x, 1.0)
    square_v = jnp.where(defined, long_v * long_v, 1.0)
    share = weight / product
    return share * v - phi * x / square_x, share * x - phi * v / square_v


def _norm(x, total):
    return jnp.sqrt(total(x * x))


LANES_SIMILARITIES: MappingProxyType[str, LanesSimilarity] = MappingProxyType(
    {
        "dot": LanesSimilarity(_dot, _pull_dot),
        "l1": LanesSimilarity(_l1, _pull_l1),
        "cosine": LanesSimilarity(_cosine, _pull_cosine),
    }
)
