"""The compared modules on 8 channels, compiled once each, and their inputs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from prm_flax.attention import CBAM, GC, GE, SE, SGE, SK

CHANNELS = 8
MODULES = {
    "se": SE(2),
    "ge": GE(),
    "ge, extent 2": GE(2),
    "cbam": CBAM(2),
    "sk": SK(CHANNELS, groups=4, reduction=2),
    "gc": GC(2),
    "sge": SGE(4),
}


def features(seed=0, batch=2, h=4, w=5):
    """(batch, h, w, 8) float64 NumPy."""
    return np.random.default_rng(seed).normal(size=(batch, h, w, CHANNELS))


def as_jax(tree, dtype=jnp.float64):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), tree)


@functools.cache
def initial(module):
    """What init gives, for 8 channels."""
    with jax.enable_x64(False):
        return jax.jit(module.init)(jax.random.key(0), as_jax(features(), "float32"))


def variables(module, seed=0, dtype=jnp.float64):
    """Away from the initial values, at which many a term is 0."""
    rng = np.random.default_rng([seed, 1])
    moved = jax.tree.map(
        lambda leaf: np.asarray(leaf) + rng.uniform(0.1, 0.4, leaf.shape),
        initial(module),
    )
    return as_jax(moved, dtype)


@functools.cache
def _compiled(module):
    return jax.jit(module.apply)


def run(module, x, seed=0):
    """The module in float64, with variables away from their start."""
    return np.asarray(_compiled(module)(variables(module, seed), as_jax(x)))
