"""What every recalibration module promises, whatever it computes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from support import table
from support.checks import (
    assert_close,
    assert_finite,
    compiled_gradients_of,
    gradients_of,
)

SHAPE = (2, 5, 6, 16)
# Of a gradient that is 0 but for float32's rounding.
NOISE = 1e-4
pytestmark = pytest.mark.parametrize("name", table.MODULES)


def features(dtype, seed=0):
    x = np.random.default_rng(seed).normal(size=SHAPE)
    return jnp.asarray(x, dtype)


@functools.cache
def initial(module):
    with jax.enable_x64(False):
        return jax.jit(module.init)(jax.random.key(0), features(jnp.float32))


def variables(module, dtype=jnp.float32):
    """Moved from the initial values, at which many gradients are 0."""
    tree = initial(module)
    rng = np.random.default_rng(1)
    return jax.tree.map(
        lambda leaf: jnp.asarray(
            np.asarray(leaf) + rng.uniform(0.1, 0.3, leaf.shape), dtype
        ),
        tree,
    )


def split(tree):
    params = tree.get("params", {})
    return params, {k: v for k, v in tree.items() if k != "params"}


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_shape_and_dtype_stay(name, dtype, train):
    module, x = table.MODULES[name], features(dtype)
    y = jax.eval_shape(
        lambda x: module.init_with_output(jax.random.key(0), x, train=train)[0], x
    )
    assert (y.shape, y.dtype) == (x.shape, x.dtype)


@pytest.mark.parametrize("train", [False, True])
def test_init_returns_variables_only(name, train):
    init = functools.partial(table.MODULES[name].init, train=train)
    tree = jax.eval_shape(init, jax.random.key(0), features("float32"))
    assert tree.keys() <= {"params", "batch_stats"}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_gradients_are_finite_and_reach_every_parameter(name, dtype):
    module = table.MODULES[name]
    run = compiled_gradients_of(module)
    found = run(*split(variables(module)), features(dtype))
    assert_finite(found)
    _, (params, x) = found
    assert x.dtype == dtype
    for path, gradient in flatten_dict(params, sep="/").items():
        largest = float(jnp.abs(gradient).max())
        assert (largest > NOISE) == (path not in table.UNUSED.get(name, ())), path


def test_jit_equals_eager(name, x64):
    module = table.MODULES[name]
    inputs = *split(variables(module, jnp.float64)), features(jnp.float64)
    assert_close(compiled_gradients_of(module)(*inputs), gradients_of(module)(*inputs))


def test_samples_are_independent_in_inference(name, x64):
    module, x = table.MODULES[name], features(jnp.float64)
    tree = variables(module, jnp.float64)
    run = jax.jit(module.apply)
    assert_close(run(tree, x)[1:], run(tree, x[1:]))


def test_one_compilation(name):
    module = table.MODULES[name]
    run = compiled_gradients_of(module)
    run.clear_cache()  # the other tests' calls
    for seed in (0, 1):
        run(*split(variables(module)), features("float32", seed))
    assert run._cache_size() == 1
