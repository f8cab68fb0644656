"""Variables to convert, and their comparison."""

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict


def shapes_of(model, channels=3):
    image = jnp.zeros((1, 64, 64, channels))
    return jax.eval_shape(lambda: model.init(jax.random.key(0), image))


def variables_of(model, channels=1, seed=0, dtype=np.float32):
    """Random numbers for every leaf, so that no two can be mistaken."""
    generator = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.array(generator.normal(size=leaf.shape).astype(dtype)),
        shapes_of(model, channels),
    )


def trained(model, channels=3, seed=0):
    """float64 as of a trained network: signals stay of a size, norms do something."""
    generator = np.random.default_rng(seed)
    centres = {"scale": 1.0, "var": 1.0, "xi": 1.0, "beta": 1.0, "d": 1.0}

    def draw(path, leaf):
        name = path[-1].key
        if name == "kernel":
            numbers = generator.normal(size=leaf.shape)
            return numbers / np.sqrt(np.prod(leaf.shape[:-1]))
        spread = generator.uniform(-0.3, 0.3, leaf.shape)
        return centres.get(name, 0.0) + spread

    return jax.tree_util.tree_map_with_path(draw, shapes_of(model, channels))


def assert_same(ours, theirs):
    ours, theirs = flatten_dict(ours), flatten_dict(theirs)
    assert ours.keys() == theirs.keys()
    for path, leaf in ours.items():
        assert isinstance(leaf, jax.Array)
        assert leaf.dtype == theirs[path].dtype
        np.testing.assert_array_equal(leaf, theirs[path], err_msg=str(path))
