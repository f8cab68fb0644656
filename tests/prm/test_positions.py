"""Sums, means and maxima over positions: each platform's form, derivatives, batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import export

from prm_flax.prm.numerics import mean
from prm_flax.prm.positions import (
    apart,
    everywhere,
    most_salient,
    position_mean,
    position_sum,
)


def features(seed: int, shape: tuple[int, ...]) -> jax.Array:
    """Small whole numbers: their sums are exact, and ties are common."""
    random = np.random.default_rng(seed)
    return jnp.asarray(random.integers(-3, 4, shape).astype(np.float32))


maps = st.tuples(st.integers(1, 9), st.integers(1, 9))
groups = st.tuples(st.integers(1, 3), st.integers(1, 17))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 99), maps, groups)
def test_the_most_salient_position_is_the_first_of_the_largest_sums(seed, size, group):
    (h, w), (g, c) = size, group
    x = features(seed, (2, h * w, g, c))
    expected = np.argmax(np.asarray(x).sum(-1), axis=1)
    np.testing.assert_array_equal(
        jax.jit(most_salient, static_argnums=1)(x, w), expected
    )


@pytest.mark.parametrize("worst", [np.nan, np.inf])
def test_a_number_that_is_none_or_infinite_is_the_most_salient(worst):
    x = features(0, (1, 12, 2, 4)).at[0, 7, 1, 2].set(worst).at[0, 9, 1, 0].set(worst)
    assert most_salient(x, 4)[0, 1] == 7


def test_of_minus_infinity_everywhere_the_first_position_is_the_most_salient():
    assert most_salient(jnp.full((1, 6, 1, 4), -jnp.inf), 3)[0, 0] == 0


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 99), st.integers(1, 60), groups)
def test_sums_and_means_over_positions_are_those_of_numpy(seed, n, group):
    x = features(seed, (2, n, *group))
    host = np.asarray(x, np.float64)
    np.testing.assert_array_equal(position_sum(x), host.sum(1, keepdims=True))
    np.testing.assert_allclose(
        position_mean(x), host.mean(1, keepdims=True), 1e-6, 1e-6
    )


def test_the_mean_of_equal_features_is_the_feature_to_the_bit():
    x = jnp.full((1, 147, 2, 3), 0.1)
    np.testing.assert_array_equal(jax.jit(position_mean)(x), x[:, :1])


def test_the_mean_and_its_derivatives_are_those_of_the_plain_one():
    x = jax.random.normal(jax.random.key(0), (2, 21, 2, 3))
    dx = jax.random.normal(jax.random.key(1), x.shape)
    found = jax.jvp(position_mean, (x,), (dx,))
    expected = jax.jvp(lambda x: mean(x, -3), (x,), (dx,))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, 1e-5, 1e-6), found, expected
    )
    pulled = jax.vjp(position_mean, x)[1](found[0])[0]
    plain = jax.vjp(lambda x: mean(x, -3), x)[1](found[0])[0]
    np.testing.assert_allclose(pulled, plain, 1e-5, 1e-6)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 99), st.integers(1, 30))
def test_the_sum_and_the_repetition_are_each_others_transpose(seed, n):
    x, v = features(seed, (2, n, 2, 3)), features(seed + 1, (2, 1, 2, 3))
    there = jax.vjp(position_sum, x)[1](v)[0]
    np.testing.assert_array_equal(there, everywhere(v, n))
    back = jax.vjp(lambda v: everywhere(v, n), v)[1](x)[0]
    np.testing.assert_array_equal(back, position_sum(x))
    assert float(jnp.vdot(position_sum(x), v)) == float(jnp.vdot(x, everywhere(v, n)))


def test_apart_is_the_identity_with_its_derivatives():
    v = jnp.asarray([1.0, -0.0, jnp.inf, jnp.nan])
    np.testing.assert_array_equal(jax.jit(apart)(v), v)
    pushed = jax.jvp(apart, (v,), (2 * jnp.ones(4),))[1]
    np.testing.assert_array_equal(pushed, np.full(4, 2.0))
    np.testing.assert_array_equal(jax.vjp(apart, v)[1](v)[0], v)


def test_a_new_batch_axis_anywhere_changes_no_number():
    x = features(3, (5, 12, 2, 4))
    expected = most_salient(x, 3)
    for axis in range(3):
        each = jax.vmap(lambda x: most_salient(x, 3), in_axes=axis)
        np.testing.assert_array_equal(each(jnp.moveaxis(x, 0, axis)), expected)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_elsewhere_the_forms_are_the_plain_reductions(platform):
    def all_of_them(x):
        return position_sum(apart(x)), most_salient(x, 4)

    x = jax.ShapeDtypeStruct((2, 28, 2, 4), jnp.float32)
    text = export.export(jax.jit(all_of_them), platforms=[platform])(x).mlir_module()
    assert "stablehlo.slice" not in text and "stablehlo.gather" not in text
    here = export.export(jax.jit(all_of_them), platforms=["cpu"])(x).mlir_module()
    assert "stablehlo.slice" in here and "stablehlo.gather" in here
