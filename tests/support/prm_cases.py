"""Inputs of PRM as hypothesis draws them, and PRM compiled for them."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from prm_flax import PRMParams, recalibrate

SIMILARITIES = ("dot", "l1", "cosine")


class Shape(NamedTuple):
    h: int
    w: int
    groups: int
    width: int  # channels of a group


shapes = st.builds(
    Shape,
    h=st.integers(1, 4),
    w=st.integers(1, 5),
    groups=st.integers(1, 3),
    width=st.integers(1, 3),
)
# Compiling dominates: laws that need no unusual shape are tried on this one. In its
# groups of three channels no similarity is constant over the image.
USUAL = Shape(3, 4, 2, 3)
seeds = st.integers(0, 2**32 - 1)
options = st.fixed_dictionaries(
    {
        "similarity": st.sampled_from(SIMILARITIES),
        "ddof": st.sampled_from([0, 1]),
        "position": st.booleans(),
        "normalize": st.booleans(),
    }
)
laws = given(seeds, options)
near = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-11)


@functools.cache
def _compiled(**options):
    return jax.jit(functools.partial(recalibrate, **options))


def prm(x, params, **options):
    """`recalibrate`, compiled, in float64."""
    x, params = as_jax((x, params))
    return _compiled(**options)(x, params)


def image(seed: int, shape: Shape, batch: tuple[int, ...] = ()) -> np.ndarray:
    """(*batch, h, w, C) float64 without ties of the channel means."""
    h, w, groups, width = shape
    return np.random.default_rng(seed).normal(size=(*batch, h, w, groups * width))


def params(seed: int, groups: int) -> PRMParams:
    """Parameters away from their initial values, of both signs, float64 NumPy."""
    rng = np.random.default_rng([seed, 1])
    alpha, beta, lam, xi = rng.normal(size=(4, groups))
    d = rng.choice([-1.0, 1.0]) * rng.uniform(0.5, 2)
    return PRMParams(alpha, beta, lam, xi, rng.normal(size=2), np.asarray(d))


def as_jax(tree, dtype=jnp.float64):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), tree)
