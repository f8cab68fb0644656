"""The first values: those of `model.init`, drawn by a program for all shapes."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.hlo import compilations
from support.nets import task

from prm_flax import PRM, create_model
from train import sharding
from train.draws import BLOCK, evaluate
from train.state import init_state


class Dense(nn.Module):
    """A dense layer, in a module that can be transformed."""

    kernel_init: nn.initializers.Initializer
    param_dtype: type = jnp.float32

    @nn.compact
    def __call__(self, x):
        init, dtype = self.kernel_init, self.param_dtype
        return nn.Dense(300, kernel_init=init, param_dtype=dtype)(x)


INITS = nn.initializers
MODULES = {
    "truncated normal, Linen's default": nn.Conv(16, (3, 3)),
    "normal": Dense(INITS.variance_scaling(2.0, "fan_out", "normal")),
    "uniform": Dense(INITS.xavier_uniform()),
    "constants": Dense(INITS.constant(0.25)),
    "not one of ours: orthogonal": Dense(INITS.orthogonal()),
    "not float32": Dense(INITS.normal(), param_dtype=jnp.bfloat16),
    "PRM": PRM(groups=4),
}
LIFTED = {
    "jit": nn.jit(Dense)(INITS.normal()),
    "remat": nn.remat(Dense)(INITS.normal()),
}


def bits(tree):
    return [(leaf.dtype, np.asarray(leaf).tobytes()) for leaf in jax.tree.leaves(tree)]


@pytest.mark.parametrize("name", MODULES)
def test_the_values_are_those_of_init_to_the_bits(name):
    x = jnp.ones((1, 2, 2, 300))
    assert 300 * 300 > 2 * BLOCK  # several blocks and a part of one
    init = functools.partial(MODULES[name].init, jax.random.key(3), x)
    got, want = evaluate(init), init()
    assert jax.tree.structure(got) == jax.tree.structure(want)
    assert bits(got) == bits(want)


@pytest.mark.parametrize("name", LIFTED)
def test_draws_are_found_inside_transformed_modules(name):
    init = functools.partial(LIFTED[name].init, jax.random.key(3), jnp.ones((1, 300)))
    # Compiled with it, the product with the standard deviation may round otherwise.
    close = functools.partial(np.testing.assert_allclose, rtol=3e-7)
    jax.tree.map(close, evaluate(init), init())
    assert compilations(lambda: evaluate(init)) == 0


def resnet(seed, name="resnet50", ema=False):
    trained = task(create_model(name, 1000), image_shape=(64, 64, 3))
    return functools.partial(init_state, trained, optax.sgd(0.1, 0.9), seed, ema=ema)


def test_another_network_compiles_nothing():
    """What makes the first start take seconds is compiled once for all shapes."""
    evaluate(resnet(0, "prm_resnet14"))
    assert compilations(lambda: evaluate(resnet(0, "prm_resnet50"))) == 0


def test_the_distributions_are_the_modules():
    params = evaluate(resnet(0, "prm_resnet50")).params
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        names = [key.key for key in path]
        if leaf.ndim == 4:  # N(0, 2 / fan-out)
            want = (2 / (leaf.shape[0] * leaf.shape[1] * leaf.shape[3])) ** 0.5
            assert abs(leaf.std() / want - 1) < 4 / leaf.size**0.5, names
            assert abs(leaf.mean()) < 5 * want / leaf.size**0.5, names
            extreme = np.abs(leaf).max() / want
            assert 3.5 < extreme < 6.5, names
        if names[-1] == "theta":  # U[0, 1)
            assert 0 <= leaf.min() and leaf.max() < 1
    kernel = params["fc"]["kernel"]  # U(-1/√fan-in, 1/√fan-in)
    bound = 2048**-0.5
    assert np.abs(kernel).max() <= bound and np.abs(kernel).max() > 0.999 * bound
    assert abs(kernel.std() / (bound / 3**0.5) - 1) < 0.01


def test_the_seed_decides_and_nothing_else(devices):
    init = resnet(7, "resnet14", ema=True)
    state = sharding.make_init(sharding.make_mesh(devices), init)()
    assert bits(state) == bits(evaluate(init))
    assert bits(state.params) != bits(evaluate(resnet(8, "resnet14")).params)
    leaves = jax.tree.leaves(state)
    assert all(leaf.sharding.device_set == set(devices) for leaf in leaves)
