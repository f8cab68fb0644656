"""The kernels, run step by step on the CPU, are the definition to rounding."""

from typing import NamedTuple

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
# Numbers of float32 against the truth in float64, relative to the largest of their
# array; where the definition loses more in float32, a kernel may lose four times that.
FLOAT32, TIMES = 2e-5, 4


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
    c = branch.features.shape[-1]
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


class Results(NamedTuple):
    """y and the gradients of everything, each as leaves.

    The definition's in float64, which is the truth, and in the input's own precision.
    """

    kernel: list
    definition: list
    truth: list


def results(platform, branch, params, dy, options):
    kernel, options = BY_PLATFORM[platform], Options(**options)

    def run(b, p):
        return by_kernel(kernel, options, True, b, p)

    def define(b, p):
        return plain_branch(b, p, options)

    got, own = (with_gradient(f, branch, params, dy) for f in (run, define))
    with jax.enable_x64(True):
        truth = with_gradient(define, *jax.tree.map(widened, (branch, params, dy)))
    return Results(*(jax.tree.leaves(each) for each in (got, own, truth)))


def widened(leaf):
    wide = jnp.float64 if leaf.dtype == jnp.float32 else leaf.dtype
    return jnp.asarray(leaf, wide)


def assert_near(found: Results, bound=FLOAT32, leaves=slice(None)):
    for got, own, want in zip(*(each[leaves] for each in found), strict=True):
        assert (got.shape, got.dtype) == (own.shape, own.dtype)
        got, own, want = (np.float64(each) for each in (got, own, want))
        allowed = bound * (1 + np.abs(want).max()) + TIMES * np.abs(own - want).max()
        np.testing.assert_allclose(got, want, rtol=0, atol=allowed)


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("what", OPTIONS)
def test_every_option(platform, what):
    found = results(platform, *case(SHAPES[0]), OPTIONS[what])
    assert_near(found)


@pytest.mark.parametrize("what", OPTIONS)
def test_a_map_of_many_tiles(what):
    branch, params, dy = case(LARGE)
    found = results("gpu", with_neighbours(branch), params, dy, OPTIONS[what])
    assert_near(found)


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_every_shape(platform, shape):
    found = results(platform, *case(shape), {})
    assert_near(found)


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("what", ["dot", "l1", "cosine", "no normalisation"])
@pytest.mark.parametrize("identity", [True, False])
def test_a_norm_before_and_a_sum_after(platform, what, identity):
    branch, params, dy = case(SHAPES[0])
    branch = with_neighbours(branch, identity=identity)
    found = results(platform, branch, params, dy, {"relu": identity} | OPTIONS[what])
    assert_near(found)


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("relu", [True, False])
def test_statistics_of_runs(platform, relu):
    branch, params, dy = case((16, 3, 17, 128, 64))
    branch = with_neighbours(branch, runs=2)
    assert BY_PLATFORM[platform].fits((16, 3, 17, 128), 4, 64, 2)
    found = results(platform, branch, params, dy, {"relu": relu})
    assert_near(found)


def test_a_run_that_shares_a_tpu_block_with_another_does_not_fit():
    assert not BY_PLATFORM["tpu"].fits((12, 3, 3, 128), 4, 64, 3)
    assert BY_PLATFORM["gpu"].fits((12, 3, 3, 128), 4, 64, 3)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_half_precision_has_a_core_of_float32(platform):
    branch, params, dy = case(SHAPES[0], jnp.bfloat16)
    found = results(platform, branch, params, dy, {})
    assert_near(found, 2**-7)
    assert_near(found, leaves=slice(2, None))


@pytest.mark.parametrize("platform", PLATFORMS)
def test_half_precision_is_rounded_where_separate_operations_round(platform):
    branch, params, _ = case(SHAPES[0], jnp.bfloat16)
    branch, options = with_neighbours(branch), Options(relu=True)
    got = by_kernel(BY_PLATFORM[platform], options, True, branch, params)
    want = jax.jit(plain_branch, static_argnums=2)(branch, params, options)
    same = np.asarray(got) == np.asarray(want)
    assert same.mean() > 0.99


@pytest.mark.parametrize("platform", PLATFORMS)
def test_constant_images_have_no_spread(platform):
    branch, params, dy = case(SHAPES[0])
    branch = branch._replace(features=jnp.full_like(branch.features, 3.7))
    found = results(platform, branch, params, dy, {})
    assert_near(found, leaves=slice(1))
    assert all(np.isfinite(leaf).all() for leaf in found.kernel)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_first_of_equal_positions_is_the_query(platform):
    branch, params, dy = case(SHAPES[0])
    x = branch.features.at[:, 1, 2].set(9.0).at[:, 3, 5].set(9.0)
    found = results(platform, Branch(x), params, dy, {})
    assert_near(found)
