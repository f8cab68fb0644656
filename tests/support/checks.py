"""The clauses of the contract that more than one table shares."""

import functools

import jax
import jax.numpy as jnp
import numpy as np


def assert_finite(tree):
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        assert jnp.isfinite(leaf).all(), jax.tree_util.keystr(path)


# What float64 makes of numbers near one whose sum is 0.
ROUNDING = 1e-13


def assert_close(got, want, rtol=1e-9):
    """Equal to a share of each array's largest number, zeros up to rounding."""

    def leaf(path, a, b):
        a, b = np.asarray(a), np.asarray(b)
        atol = rtol * np.abs(b).max(initial=0) + ROUNDING
        name = jax.tree_util.keystr(path)
        np.testing.assert_allclose(a, b, rtol=0, atol=atol, err_msg=name)

    jax.tree_util.tree_map_with_path(leaf, got, want)


def loss_of(model):
    """(params, the rest of the variables, x) -> sum of squares, new statistics."""

    def loss(params, rest, x):
        variables = {"params": params, **rest}
        key = {"dropout": jax.random.key(0)}
        y, new = model.apply(variables, x, True, rngs=key, mutable=["batch_stats"])
        return jnp.square(y).astype(jnp.promote_types(y.dtype, "float32")).sum(), new

    return loss


def gradients_of(model):
    """(params, the rest, x) -> ((loss, statistics), gradients of params and x)."""
    return jax.value_and_grad(loss_of(model), (0, 2), has_aux=True)


@functools.cache
def compiled_gradients_of(model):
    return jax.jit(gradients_of(model))
