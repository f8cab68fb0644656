"""Folding batch norm changes the program, and the logits by rounding alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interop.support import shapes_of

from prm_flax import create_model
from prm_flax.interop.fold import Folded
from prm_flax.layers.norm import BatchNorm

SMALL = {
    "prm_resnet14": {"stem": "3x3"},
    "prm_mobilenet_v2": {},
    "mnasnet1_0": {},
    "cbam_resnet14": {"stem": "3x3"},
    "sk_resnet14": {"stem": "3x3"},
}
IMAGE = (32, 32, 3)


def norms_apart(model, seed=0):
    """Kernels of the usual size; norms and statistics that do something."""
    generator = np.random.default_rng(seed)
    centres = {"scale": 1.0, "var": 1.0, "bias": 0.0, "mean": 0.0}

    def draw(path, leaf):
        name = path[-1].key
        if name == "kernel":
            numbers = generator.normal(size=leaf.shape)
            return jnp.float32(numbers / np.sqrt(np.prod(leaf.shape[:-1])))
        spread = generator.uniform(-0.5, 0.5, leaf.shape)
        return jnp.float32(centres.get(name, 1.0) + spread)

    return jax.tree_util.tree_map_with_path(draw, shapes_of(model))


@pytest.mark.parametrize("name", SMALL)
def test_folded_logits_are_equal_to_rounding(name):
    model = create_model(name, 10, **SMALL[name])
    variables = norms_apart(model)
    x = np.random.default_rng(1).normal(size=(3, *IMAGE)).astype(np.float32)
    want = jax.jit(lambda x: model.apply(variables, x))(x)
    folded = Folded(model, variables, IMAGE)
    got = jax.jit(folded)(x)
    assert np.abs(got - want).max() <= 1e-5 * np.std(want)
    assert np.std(want) > 1e-2


@pytest.mark.parametrize("name", SMALL)
def test_every_norm_of_a_network_is_folded(name):
    model = create_model(name, 10, **SMALL[name])
    folded = Folded(model, norms_apart(model), IMAGE)
    assert "batch_stats" not in folded.variables
    assert len(set(folded.norms.values())) == len(folded.norms) > 10
    jaxpr = str(jax.make_jaxpr(folded)(jnp.zeros((1, *IMAGE))))
    assert "rsqrt" not in jaxpr


def test_a_norm_after_something_else_stays():
    model = BatchNorm()
    variables = model.init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)))
    folded = Folded(model, variables, (4, 4, 3))
    assert not folded.norms
    x = jnp.ones((1, 4, 4, 3))
    np.testing.assert_array_equal(folded(x), model.apply(variables, x))
