"""The kernels, run step by step on the CPU, are the definition to rounding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_flax import PRMParams
from prm_flax.layers.norm import Affine
from prm_flax.prm.fast import BY_PLATFORM, by_kernel, plain_branch
from prm_flax.prm.kernels.options import Branch, Options

PLATFORMS = ("tpu", "gpu")
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
# One that a GPU's program reads tile by tile.
LARGE = (1, 33, 39, 16, 4)
# Numbers of float32 against truth in float64, relative to the largest of their array.
FLOAT32 = 2e-5


def case(shape, dtype=jnp.float32, seed=0):
    """x, dy and parameters."""
    *sizes, groups = shape
    g = np.random.default_rng(seed)
    x, dy = (jnp.asarray(g.normal(size=sizes), dtype) for _ in range(2))
    four = (jnp.asarray(g.normal(size=groups), jnp.float32) for _ in range(4))
    theta = jnp.asarray(g.uniform(-1, 1, 2), jnp.float32)
    return Branch(x), PRMParams(*four, theta, jnp.float32(1.7)), dy


def with_neighbours(branch, runs=1, identity=True, seed=1):
    """A branch with a norm of so many runs before it, and the identity after it."""
    b, *_, c = branch.features.shape
    g = np.random.default_rng(seed)
    mean, bias = (jnp.asarray(g.normal(size=s), jnp.float32) for s in ((runs, c), c))
    factor = jnp.asarray(g.uniform(0.5, 2, (runs, c)), jnp.float32)
    other = jnp.asarray(g.normal(size=branch.features.shape), branch.features.dtype)
    affine = Affine(mean, factor, bias)
    return branch._replace(affine=affine, identity=other if identity else None)


def with_gradient(function, branch, params, dy):
    @jax.jit
    def call(branch, params):
        y, pull = jax.vjp(function, branch, params)
        return y, *pull(dy)

    return call(branch, params)


def both(platform, branch, params, dy, options):
    """y and the gradients of everything, by the kernel and by the definition.

    The definition in float64 where the input is float32.
    """
    kernel, options = BY_PLATFORM[platform], Options(**options)
    got = with_gradient(
        lambda b, p: by_kernel(kernel, options, True, b, p), branch, params, dy
    )
    with jax.enable_x64(True):
        truth = jax.tree.map(
            lambda leaf: jnp.asarray(
                leaf, jnp.float64 if leaf.dtype == jnp.float32 else leaf.dtype
            ),
            (branch, params, dy),
        )
        want = with_gradient(lambda b, p: plain_branch(b, p, options), *truth)
    return got, want


def assert_near(got, want, bound):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert a.shape == b.shape
        a, b = np.float64(a), np.float64(b)
        np.testing.assert_allclose(a, b, rtol=0, atol=bound * (1 + np.abs(b).max()))


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("what", OPTIONS)
def test_every_option(platform, what):
    got, want = both(platform, *case(SHAPES[0]), OPTIONS[what])
    assert_near(got, want, FLOAT32)


@pytest.mark.parametrize("what", OPTIONS)
def test_a_map_of_many_tiles(what):
    branch, params, dy = case(LARGE)
    got, want = both("gpu", with_neighbours(branch), params, dy, OPTIONS[what])
    assert_near(got, want, FLOAT32)


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_every_shape(platform, shape):
    got, want = both(platform, *case(shape), {})
    assert_near(got, want, FLOAT32)


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("what", ["dot", "l1", "cosine", "no normalisation"])
@pytest.mark.parametrize("identity", [True, False])
def test_a_norm_before_and_a_sum_after(platform, what, identity):
    branch, params, dy = case(SHAPES[0])
    branch = with_neighbours(branch, identity=identity)
    got, want = both(platform, branch, params, dy, {"relu": identity} | OPTIONS[what])
    assert_near(got, want, FLOAT32)


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("relu", [True, False])
def test_statistics_of_runs(platform, relu):
    branch, params, dy = case((16, 3, 17, 128, 64))
    branch = with_neighbours(branch, runs=2)
    assert BY_PLATFORM[platform].fits(branch, 64)
    got, want = both(platform, branch, params, dy, {"relu": relu})
    assert_near(got, want, FLOAT32)


def test_a_run_that_shares_a_tpu_block_with_another_does_not_fit():
    branch = with_neighbours(case((12, 3, 3, 128, 64))[0], runs=3)
    assert not BY_PLATFORM["tpu"].fits(branch, 64)
    assert BY_PLATFORM["gpu"].fits(branch, 64)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_half_precision_has_a_core_of_float32(platform):
    branch, params, dy = case(SHAPES[0], jnp.bfloat16)
    got, want = both(platform, branch, params, dy, {})
    assert_near(got, want, 2**-7)
    assert_near(got[2], want[2], FLOAT32)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_half_precision_is_rounded_where_separate_operations_round(platform):
    branch, params, dy = case(SHAPES[0], jnp.bfloat16)
    branch, options = with_neighbours(branch), Options(relu=True)
    got = by_kernel(BY_PLATFORM[platform], options, True, branch, params)
    want = jax.jit(plain_branch, static_argnums=2)(branch, params, options)
    same = np.asarray(got) == np.asarray(want)
    assert same.mean() > 0.99


@pytest.mark.parametrize("platform", PLATFORMS)
def test_constant_images_have_no_spread(platform):
    branch, params, dy = case(SHAPES[0])
    branch = branch._replace(features=jnp.full_like(branch.features, 3.7))
    got, want = both(platform, branch, params, dy, {})
    assert_near(got[0], want[0], FLOAT32)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(got))


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_first_of_equal_positions_is_the_query(platform):
    branch, params, dy = case(SHAPES[0])
    x = branch.features.at[:, 1, 2].set(9.0).at[:, 3, 5].set(9.0)
    got, want = both(platform, Branch(x), params, dy, {})
    assert_near(got, want, FLOAT32)
