"""Where the plain formula breaks: σ = 0, zero vectors, ties, d = 0, low precision."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from support import prm_cases as cases
from support.prm_images import GROUPS, IMAGES, WIDTH

from prm_flax import PRMParams, recalibrate
from prm_flax.prm.functional import normalized

HARD = IMAGES["3×4"] | IMAGES["1×1"]


def parameters(d=0.8):
    return cases.params(3, GROUPS)._replace(d=np.asarray(d))


def make_loss(**options):
    def loss(x, params):
        y, maps = recalibrate(x, params, return_maps=True, **options)
        return jnp.sum(jnp.square(y.astype(params.d.dtype))), (y, maps)

    return loss


@functools.cache
def program(**options):
    """y and maps, and the gradients of sum(y²)."""

    @jax.jit
    def run(x, params):
        loss = jax.value_and_grad(make_loss(**options), (0, 1), has_aux=True)
        (_, aux), gradients = loss(x, params)
        return aux, gradients

    return run


def results(x, params, dtype, **options):
    """Of that program, with parameters of float32."""
    return program(**options)(jnp.asarray(x, dtype), cases.as_jax(params, "float32"))


def assert_finite(tree):
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        assert jnp.isfinite(leaf).all(), jax.tree_util.keystr(path)


def test_a_distance_beyond_float32():
    """θΔ/d = 1e23 squares to infinity, whose product with exp(-∞) is NaN."""
    params = parameters(1e-12)._replace(theta=np.full(2, 1e11))
    assert_finite(results(HARD["usual"], params, "float32"))
    inputs = cases.as_jax((HARD["usual"], params), "float32")
    ones = jax.tree.map(jnp.ones_like, inputs)
    assert_finite(jax.jit(functools.partial(jax.jvp, recalibrate))(inputs, ones))


@pytest.mark.parametrize("case", ["ties", "zeros", "constant", "a zero pixel"])
@pytest.mark.parametrize("similarity", cases.SIMILARITIES)
def test_eager_is_finite_and_equals_jit(similarity, case, x64):
    """Where compiled arithmetic could leave 1e-17 in place of 0, eager not."""
    x, params = cases.as_jax((HARD[case], parameters()))

    def run(x, params):
        y, pull = jax.vjp(lambda *a: recalibrate(*a, similarity=similarity), x, params)
        return y, pull(y)

    eager, compiled = run(x, params), jax.jit(run)(x, params)
    assert_finite(eager)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, atol=1e-9), eager, compiled
    )


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("similarity", cases.SIMILARITIES)
@pytest.mark.parametrize("case", ["1×1", "constant", "zeros"])
def test_constant_scores_are_not_amplified(case, similarity, ddof):
    """σ = 0: without the position term y = x·sigmoid(ξ), not 0.7 of rounding."""
    x, params = HARD[case], parameters()._replace(alpha=np.zeros(GROUPS))
    (y, _), _ = results(x, params, "float32", similarity=similarity, ddof=ddof)
    gate = np.repeat(np.asarray(jax.nn.sigmoid(params.xi)), WIDTH)
    np.testing.assert_allclose(y, x * gate, rtol=1e-6)


@pytest.mark.parametrize("ddof", [0, 1])
def test_a_single_position(ddof):
    (y, _), gradients = results(HARD["1×1"], parameters(), "float32", ddof=ddof)
    gate = np.repeat(np.asarray(jax.nn.sigmoid(parameters().xi)), WIDTH)
    np.testing.assert_allclose(y, HARD["1×1"] * gate, rtol=1e-6)
    for leaf in ("alpha", "beta", "lam", "theta", "d"):
        np.testing.assert_array_equal(getattr(gradients[1], leaf), 0)


@pytest.mark.parametrize("ddof", [0, 1])
def test_a_tiny_spread_is_measured(ddof):
    """σ near 1e-24 squares to 0 in float32; its gradient is still dS/(σ + 1e-5)."""
    scores = jnp.asarray([[1e-24], [2e-24], [4e-24]], jnp.float32)
    slope = jax.jacobian(lambda s: normalized(s, ddof, axis=-2)[:, 0])(scores)[..., 0]
    np.testing.assert_allclose(slope, 1e5 * (np.eye(3) - 1 / 3), rtol=1e-4)


def test_a_zero_pixel_has_no_cosine_gradient():
    """The literal eq. 2 would give α·D·q/1e-8 there."""
    x = HARD["a zero pixel"]
    _, (grad_x, _) = results(x, parameters(), "float32", similarity="cosine")
    assert jnp.abs(grad_x).max() < 100


def test_many_channels_in_float16():
    """The sums over 2048 channels, up to 3e5, are outside float16."""
    x = 12 + 2 * np.random.default_rng(0).normal(size=(2, 2, 2048))
    one = np.ones(1)
    params = PRMParams(one, one, one, one, np.ones(2), np.asarray(1.0))
    found = results(x, params, "float16")
    assert_finite(found)
    (_, maps), _ = found
    assert maps.scores.max() > 1e5


def test_second_derivatives_exist(x64):
    x, params = cases.as_jax((HARD["usual"], parameters()))

    def loss(params):
        return recalibrate(x, params).sum()

    hessian = jax.jit(jax.hessian(loss))(params)  # forward over reverse
    assert_finite(hessian)
    assert jnp.abs(hessian.lam.lam).max() > 0


@pytest.mark.parametrize("similarity", cases.SIMILARITIES)
def test_forward_and_reverse_agree_with_differences(similarity, x64):
    inputs = cases.as_jax((HARD["usual"], parameters()))
    check_grads(
        jax.jit(functools.partial(recalibrate, similarity=similarity)),
        inputs,
        order=1,
        modes=("fwd", "rev"),
        rtol=1e-5,
    )
