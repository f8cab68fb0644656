"""The kernels, run step by step on the CPU, are the definition to rounding."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from prm_flax import PRMParams
from prm_flax.layers.norm import Affine
from prm_flax.prm.fast import BY_PLATFORM, by_kernel, on_each_device, plain_branch
from prm_flax.prm.kernels.options import Branch, Options

PLATFORMS = ("tpu", "gpu")
# Each kind of case is there once for `make test`: stepwise, a kernel takes a while.
SLOW = pytest.mark.slow
GPU_FIRST = ["gpu", pytest.param("tpu", marks=SLOW)]
DOT = Options()
OPTIONS = {
    "dot": DOT,
    "l1": Options("l1"),
    "cosine": Options("cosine"),
    "ddof 1": Options(ddof=1),
    "no position": Options(position=False),
    "no normalisation": Options(normalize=False),
}
# Numbers of float32 against the truth in float64, relative to the largest of their
# array; where the definition loses more in float32, a kernel may lose four times that.
FLOAT32, TIMES = 2e-5, 4


class Case(NamedTuple):
    """A branch of random numbers: sizes, the dtype, the norm's runs, what follows."""

    shape: tuple[int, ...] = (3, 5, 7, 64)
    groups: int = 16
    options: Options = DOT
    dtype: str = "float32"
    runs: int = 0
    identity: bool = False
    features: str = "random"


def mean_0(x):
    """Exactly: numbers of few bits."""
    x = jnp.round(8 * x) / 8
    return x.at[:, -1, -1].add(-x.sum((1, 2)))


# Of x, given its random numbers.
FEATURES = {
    "random": lambda x: x,
    "constant": lambda x: jnp.full_like(x, 3.7),
    "a mean of 0": mean_0,
    "a tie": lambda x: x.at[:, 1, 2].set(9.0).at[:, 3, 5].set(9.0),
}


def arrays(case: Case):
    """The branch, the parameters and the cotangent of the result."""
    g, c = np.random.default_rng(0), case.shape[-1]

    def normal(*shape, dtype=jnp.float32):
        return jnp.asarray(g.normal(size=shape), dtype)

    x, dy, identity = (normal(*case.shape, dtype=case.dtype) for _ in range(3))
    four = (normal(case.groups) for _ in range(4))
    theta = jnp.asarray(g.uniform(-1, 1, 2), jnp.float32)
    params = PRMParams(*four, theta, jnp.float32(1.7))
    factor = jnp.asarray(g.uniform(0.5, 2, (case.runs, c)), jnp.float32)
    affine = Affine(normal(case.runs, c), factor, normal(c))
    branch = Branch(
        FEATURES[case.features](x),
        affine if case.runs else None,
        identity if case.identity else None,
    )
    return branch, params, dy


def with_gradient(function, branch, params, dy):
    """y and the gradients of everything."""

    @jax.jit
    def call(branch, params):
        y, pull = jax.vjp(function, branch, params)
        return y, *pull(dy)

    return jax.tree.leaves(call(branch, params))


@functools.cache
def definition(case: Case):
    """By the definition, in the input's precision and, the truth, in float64."""

    def define(branch, params):
        return plain_branch(branch, params, case.options)

    own = with_gradient(define, *arrays(case))
    if case.dtype != "float32":
        return own, own
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: jnp.asarray(leaf, "float64"), arrays(case))
        return own, with_gradient(define, *wide)


@functools.cache
def by(platform: str, case: Case):
    kernel = BY_PLATFORM[platform]
    assert kernel.fits(case.shape, 4, case.groups, max(case.runs, 1))
    return with_gradient(
        lambda b, p: by_kernel(kernel, case.options, True, b, p), *arrays(case)
    )


def assert_is_the_definition(platform, case, bound=FLOAT32, leaves=slice(None)):
    found = (by(platform, case), *definition(case))
    for got, own, want in zip(*(each[leaves] for each in found), strict=True):
        assert (got.shape, got.dtype) == (own.shape, own.dtype)
        got, own, want = (np.float64(each) for each in (got, own, want))
        allowed = bound * (1 + np.abs(want).max()) + TIMES * np.abs(own - want).max()
        np.testing.assert_allclose(got, want, rtol=0, atol=allowed)


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize(
    "what", ["dot", *(pytest.param(o, marks=SLOW) for o in OPTIONS if o != "dot")]
)
def test_every_option_with_a_norm_before_and_a_sum_and_relu_after(platform, what):
    case = Case(options=OPTIONS[what]._replace(relu=True), runs=1, identity=True)
    assert_is_the_definition(platform, case)


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("case", [
    pytest.param(Case((9, 4, 6, 256), 64), marks=SLOW),
    Case((2, 1, 1, 8), 2),
    pytest.param(Case((1, 17, 16, 16), 1), marks=SLOW),
], ids=str)  # fmt: skip
def test_every_shape(platform, case):
    assert_is_the_definition(platform, case)


@pytest.mark.parametrize(
    "what",
    ["l1", *(pytest.param(o, marks=SLOW) for o in ("cosine", "no normalisation"))],
)
def test_a_map_that_a_gpu_reads_tile_by_tile(what):
    case = Case(
        (1, 33, 39, 16), 4, OPTIONS[what]._replace(relu=True), "float32", 1, True
    )
    assert_is_the_definition("gpu", case)


@SLOW
@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_norm_alone_before(platform):
    assert_is_the_definition(platform, Case(runs=1))


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_norm_with_statistics_of_runs(platform):
    case = Case((16, 3, 9, 128), 64, DOT._replace(relu=True), runs=2, identity=True)
    assert_is_the_definition(platform, case)


def test_a_run_that_shares_a_tpu_block_with_another_does_not_fit():
    assert not BY_PLATFORM["tpu"].fits((12, 3, 3, 128), 4, 64, 3)
    assert BY_PLATFORM["gpu"].fits((12, 3, 3, 128), 4, 64, 3)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_half_precision_has_a_core_of_float32(platform):
    case = Case(dtype="bfloat16")
    assert_is_the_definition(platform, case, 2**-7, slice(2))
    assert_is_the_definition(platform, case, leaves=slice(2, None))


@SLOW
@pytest.mark.parametrize("platform", PLATFORMS)
def test_half_precision_is_rounded_where_separate_operations_round(platform):
    case = Case(options=Options(relu=True), dtype="bfloat16", runs=1, identity=True)
    same = np.asarray(by(platform, case)[0]) == np.asarray(definition(case)[0][0])
    assert same.mean() > 0.99


@pytest.mark.parametrize("platform", GPU_FIRST)
def test_constant_images_have_no_spread(platform):
    case = Case(features="constant")
    assert_is_the_definition(platform, case, leaves=slice(1))
    assert all(np.isfinite(leaf).all() for leaf in by(platform, case))


@pytest.mark.parametrize("platform", GPU_FIRST)
def test_a_mean_of_0_is_no_direction(platform):
    """Of 1e-8, for the cosine, it would be one."""
    case = Case(options=OPTIONS["cosine"], features="a mean of 0")
    assert_is_the_definition(platform, case)


@pytest.mark.parametrize("platform", GPU_FIRST)
def test_the_first_of_equal_positions_is_the_query(platform):
    assert_is_the_definition(platform, Case(features="a tie"))


@pytest.mark.parametrize(
    "runs", [pytest.param(1, marks=SLOW), 4], ids=["one run", "a run a device"]
)
def test_devices_take_their_images_alone(runs):
    case = Case((8, 3, 5, 32), 8, Options(relu=True), runs=runs, identity=True)
    mesh = Mesh(np.array(jax.devices()[:4]), ("data",))

    def whole(branch, params):
        run = functools.partial(by_kernel, BY_PLATFORM["gpu"], case.options, True)
        return on_each_device(run, branch, params)

    with jax.set_mesh(mesh):
        got = with_gradient(whole, *arrays(case))
    for a, b in zip(got, definition(case)[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
