"""Detection-size maps: precision, positions beyond 256 pixels, memory."""

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest
from support import prm_cases as cases

from prm_flax import recalibrate

SIZE = (800, 1333)
PEAKS = [(701, 1101), (300, 257)]  # of the two groups; bfloat16 knows neither


@pytest.fixture(scope="module")
def image():
    """(800, 1333, 4) float32, exact in bfloat16, with one peak in each group."""
    x = np.random.default_rng(0).normal(size=(*SIZE, 4))
    for group, (row, column) in enumerate(PEAKS):
        x[row, column, 2 * group : 2 * group + 2] = 8.0
    return np.asarray(jnp.asarray(x, jnp.bfloat16).astype(jnp.float32))


def maps_of(image, dtype):
    core = jnp.float64 if dtype == jnp.float64 else jnp.float32
    # A narrow encoding tells neighbouring pixels apart.
    params = cases.params(0, 2)._replace(theta=np.ones(2), d=np.asarray(0.5))
    run = jax.jit(lambda x, params: recalibrate(x, params, return_maps=True))
    return run(jnp.asarray(image, dtype), cases.as_jax(params, core))[1]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_large_map(image, dtype, x64):
    maps, want = maps_of(image, dtype), maps_of(image, jnp.float64)
    np.testing.assert_array_equal(maps.query, PEAKS)
    np.testing.assert_allclose(maps.position, want.position, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(maps.gate, want.gate, rtol=0, atol=1e-5)


def intermediate_sizes(jaxpr):
    """Elements of every array a program makes, those of inner programs included."""
    for equation in jaxpr.eqns:
        yield from (variable.aval.size for variable in equation.outvars)
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            yield from intermediate_sizes(inner)


@pytest.mark.parametrize("differentiated", [False, True])
def test_no_array_is_larger_than_the_image(differentiated):
    """With one channel a group, (N, g, 2) distances would be twice as large as x."""
    x, params = cases.as_jax((np.ones((2, 8, 16, 3)), cases.params(0, 3)), jnp.float32)

    def run(x, params):
        y, pull = jax.vjp(recalibrate, x, params)
        return pull(y) if differentiated else y

    sizes = list(intermediate_sizes(jax.make_jaxpr(run)(x, params).jaxpr))
    assert max(sizes) == x.size
