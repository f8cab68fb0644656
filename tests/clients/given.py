"""What every client here is given: images, and parameters that all have a gradient."""

import jax
import jax.numpy as jnp
import numpy as np

CLASSES = 5
LEAVES = {"alpha", "beta", "lam", "xi", "theta", "d"}


def batches(size=4, steps=2):
    """A dict of images and labels for each step."""
    rng = np.random.default_rng(0)
    return [
        {
            "image": rng.normal(size=(size, 8, 8, 3)),
            "label": rng.integers(CLASSES, size=size).astype("int32"),
        }
        for _ in range(steps)
    ]


def wide(tree):
    """The floating leaves in float64."""

    def leaf(a):
        return a.astype(jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a

    return jax.tree.map(leaf, tree)


def on_the_way(tree):
    """In float64, moved from the start, where most of a PRM's gradients are 0."""
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda a: wide(a) + rng.uniform(0.1, 0.3, a.shape), tree)


def moved(before, after):
    """The names of the leaves that differ."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(before)
    pairs = zip(leaves, jax.tree.leaves(after), strict=True)
    return {
        str(getattr(path[-1], "key", path[-1]))
        for (path, old), new in pairs
        if np.any(np.asarray(old) != np.asarray(new))
    }
