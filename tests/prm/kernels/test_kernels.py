"""The kernels, run step by step on the CPU, are the definition to rounding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_flax import PRMParams, recalibrate
from prm_flax.prm.kernels.gpu import recalibrate_on_gpu
from prm_flax.prm.kernels.options import Options
from prm_flax.prm.kernels.tpu import recalibrate_on_tpu

KERNELS = {"tpu": recalibrate_on_tpu, "gpu": recalibrate_on_gpu}
OPTIONS = {
    "dot": {},
    "l1": {"similarity": "l1"},
    "cosine": {"similarity": "cosine"},
    "ddof 1": {"ddof": 1},
    "no position": {"position": False},
    "no normalisation": {"normalize": False},
}
# Images, height, width, channels, groups.
SHAPES = [(3, 5, 7, 64, 16), (9, 4, 6, 256, 64), (2, 1, 1, 8, 2), (1, 17, 16, 16, 1)]


def case(shape, dtype=jnp.float32, seed=0):
    """x, dy and parameters."""
    *sizes, groups = shape
    g = np.random.default_rng(seed)
    x, dy = (jnp.asarray(g.normal(size=sizes), dtype) for _ in range(2))
    four = (jnp.asarray(g.normal(size=groups), jnp.float32) for _ in range(4))
    theta = jnp.asarray(g.uniform(-1, 1, 2), jnp.float32)
    return x, dy, PRMParams(*four, theta, jnp.float32(1.7))


def both(kernel, x, dy, params, options):
    """y, dx and the parameters' gradients, by the kernel and by the definition."""
    run = KERNELS[kernel]

    def with_gradient(function):
        @jax.jit
        def call(x, params):
            y, pull = jax.vjp(function, x, params)
            return y, *pull(dy)

        return call(x, params)

    got = with_gradient(lambda x, p: run(x, p, Options(**options), True))
    return got, with_gradient(lambda x, p: recalibrate(x, p, **options))


def assert_near(got, want, bound):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        a, b = np.float64(a), np.float64(b)
        np.testing.assert_allclose(a, b, rtol=0, atol=bound * (1 + np.abs(b).max()))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("what", OPTIONS)
def test_every_option(kernel, what):
    got, want = both(kernel, *case(SHAPES[0]), OPTIONS[what])
    assert_near(got, want, 2e-5)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_every_shape(kernel, shape):
    got, want = both(kernel, *case(shape), {})
    assert_near(got, want, 2e-5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_half_precision_has_a_core_of_float32(kernel):
    got, want = both(kernel, *case(SHAPES[0], jnp.bfloat16), {})
    assert_near(got, want, 2**-7)
    assert_near(got[2], want[2], 2e-5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_constant_images_have_no_spread(kernel):
    x, dy, params = case(SHAPES[0])
    got, want = both(kernel, jnp.full_like(x, 3.7), dy, params, {})
    assert_near(got[0], want[0], 2e-5)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(got))


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_first_of_equal_positions_is_the_query(kernel):
    x, dy, params = case(SHAPES[0])
    x = x.at[:, 1, 2].set(9.0).at[:, 3, 5].set(9.0)
    got, want = both(kernel, x, dy, params, {})
    assert_near(got, want, 2e-5)
