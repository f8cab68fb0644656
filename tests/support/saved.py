"""States to save, and whether what comes back is the same."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
from support.nets import Net, batch, new_state, new_step

from train import sharding
from train.checkpoints.manager import Checkpoints


@functools.cache
def odd_state():
    """After one update, so that momentum and statistics are not zeros."""
    after = jax.jit(new_step(Net()))(new_state(Net()), batch(0))
    # Numbers that a careless way through text or another dtype would change.
    odd = jnp.array([jnp.nan, -0.0, 1e-42, jnp.inf, 1 / 3], jnp.float32)
    params = after.params | {"odd": odd, "half": odd.astype(jnp.bfloat16)}
    return after.replace(params=params)


def at(state, step):
    return state.replace(step=jnp.asarray(step, jnp.int32))


def like(state, **changes):
    """What to restore to: shapes, dtypes and a sharding over all devices."""
    whole = sharding.replicated(sharding.make_mesh())
    shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=whole), state
    )
    return shapes.replace(params=shapes.params | changes)


def assert_same_bits(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def save(folder, keep, state, *steps, notes=None, scores=None):
    """Saves the state as that of each of the steps; waits for the last."""
    with contextlib.closing(Checkpoints(folder, keep)) as checkpoints:
        for step in steps:
            checkpoints.save(at(state, step), notes or {}, scores)


def names(folder):
    return sorted(path.name for path in folder.iterdir())
