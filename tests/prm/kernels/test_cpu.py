"""The CPU's form of PRM: where it is taken; its sums are those of NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import prm_cases as cases

from prm_flax import recalibrate
from prm_flax.layers.device import Device, portable
from prm_flax.prm import fast
from prm_flax.prm.functional import mean
from prm_flax.prm.kernels import cpu


def test_a_module_takes_it_on_a_cpu_alone(monkeypatch):
    x = jnp.ones((1, 2, 2, 4))
    assert fast.form("auto", x) is cpu.recalibrate
    assert fast.form("xla", x) is recalibrate
    with portable():
        assert fast.form("auto", x) is recalibrate
    monkeypatch.setattr(fast, "device", lambda: Device("gpu", "AMD MI300X"))
    assert fast.form("auto", x) is recalibrate
    assert fast.channel_sum() is not cpu.channel_sum


def test_its_derivative_holds_sums_of_slices_and_no_padding_of_them():
    """A padding is what the transpose of a slice would be; θ's two are both forms'."""
    x = jax.ShapeDtypeStruct((2, 14, 14, 64), jnp.float32)
    params = jax.eval_shape(lambda: cases.as_jax(cases.params(0, 16), jnp.float32))

    def program(form):
        gradient = jax.grad(lambda x, params: form(x, params).sum(), (0, 1))
        return jax.jit(gradient).lower(x, params).as_text()

    ours, plain = program(cpu.recalibrate), program(recalibrate)
    assert ours.count("stablehlo.pad") == plain.count("stablehlo.pad")
    assert ours.count("stablehlo.slice") > 20 + plain.count("stablehlo.slice")


def whole(seed: int, shape: tuple[int, ...]) -> jax.Array:
    """Small whole numbers: their sums are exact, and ties are common."""
    random = np.random.default_rng(seed)
    return jnp.asarray(random.integers(-3, 4, shape).astype(np.float32))


seeds, positions = st.integers(0, 99), st.integers(1, 60)
maps = st.tuples(st.integers(1, 9), st.integers(1, 9))
groups = st.tuples(st.integers(1, 3), st.integers(1, 17))


@given(seeds, maps, groups)
def test_the_query_is_the_first_of_the_largest_sums(seed, size, group):
    (h, w), (g, c) = size, group
    x = whole(seed, (2, h * w, g, c))
    expected = np.argmax(np.asarray(x).sum(-1), axis=1)
    found = jax.jit(cpu.query_index, static_argnums=1)(x, w)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("worst", [np.nan, np.inf])
def test_a_number_that_is_none_or_infinite_is_the_query(worst):
    x = whole(0, (1, 12, 2, 4)).at[0, 7, 1, 2].set(worst).at[0, 9, 1, 0].set(worst)
    assert cpu.query_index(x, 4)[0, 1] == 7


def test_of_minus_infinity_everywhere_the_first_position_is_the_query():
    assert cpu.query_index(jnp.full((1, 6, 1, 4), -jnp.inf), 3)[0, 0] == 0


@given(seeds, positions, groups)
def test_sums_and_means_are_those_of_numpy(seed, n, group):
    x = whole(seed, (2, n, *group))
    host = np.asarray(x, np.float64)
    np.testing.assert_array_equal(cpu.channel_sum(x), host.sum(-1))
    np.testing.assert_array_equal(cpu.position_sum(x), host.sum(1, keepdims=True))
    want = host.mean(1, keepdims=True)
    np.testing.assert_allclose(cpu.position_mean(x), want, 1e-6, 1e-6)


def test_eager_and_jitted_sums_are_the_same_bits():
    x = jax.random.normal(jax.random.key(0), (2, 21, 3, 4))
    for total in (cpu.channel_sum, cpu.position_sum):
        np.testing.assert_array_equal(total(x), jax.jit(total)(x))


def test_the_mean_of_equal_features_is_the_feature_to_the_bit():
    x = jnp.full((1, 147, 2, 3), 0.1)
    np.testing.assert_array_equal(jax.jit(cpu.position_mean)(x), x[:, :1])


def test_the_derivative_of_the_mean_is_that_of_the_plain_one():
    x = jax.random.normal(jax.random.key(0), (2, 21, 2, 3))
    ct = jax.random.normal(jax.random.key(1), (2, 1, 2, 3))
    (got,) = jax.vjp(cpu.position_mean, x)[1](ct)
    (want,) = jax.vjp(lambda x: mean(x, -3), x)[1](ct)
    np.testing.assert_allclose(got, want, 1e-5, 1e-6)


@pytest.mark.parametrize(("n", "c"), [(21, 4), (11, 12), (1, 1)])
def test_sums_and_repetitions_are_each_others_transpose(n, c):
    x, v, s = whole(0, (2, n, 2, c)), whole(1, (2, 1, 2, c)), whole(2, (2, n, 2))
    pairs = [
        (cpu.position_sum, lambda v: cpu.position_repeat(v, n), v),
        (cpu.channel_sum, lambda s: cpu.channel_repeat(s, c), s),
    ]
    for total, repeat, v in pairs:
        np.testing.assert_array_equal(jax.vjp(total, x)[1](v)[0], repeat(v))
        np.testing.assert_array_equal(jax.vjp(repeat, v)[1](x)[0], total(x))
        assert float(jnp.vdot(total(x), v)) == float(jnp.vdot(x, repeat(v)))


def test_the_sum_over_channels_has_derivatives_both_ways():
    x, dx = whole(0, (3, 2, 4)), whole(1, (3, 2, 4))
    y, dy = jax.jvp(cpu.channel_sum, (x,), (dx,))
    np.testing.assert_array_equal(y, x.sum(-1))
    np.testing.assert_array_equal(dy, dx.sum(-1))


def test_unfused_is_the_identity_with_its_derivative():
    v = jnp.asarray([1.0, -0.0, jnp.inf, jnp.nan])
    np.testing.assert_array_equal(jax.jit(cpu.unfused)(v), v)
    np.testing.assert_array_equal(jax.vjp(cpu.unfused, v)[1](v)[0], v)


def test_a_new_batch_axis_anywhere_changes_no_number():
    x = whole(3, (5, 12, 2, 4))
    expected = cpu.query_index(x, 3)
    for axis in range(3):
        each = jax.vmap(lambda x: cpu.query_index(x, 3), in_axes=axis)
        np.testing.assert_array_equal(each(jnp.moveaxis(x, 0, axis)), expected)
