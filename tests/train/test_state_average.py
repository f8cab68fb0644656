"""The moving average of the weights, against the plain sum."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.nets import Net, batch, init, new_state, new_step

from train import sharding
from train.state import averaged, moved_average

decays = st.floats(0.01, 0.99999)


def plain_average(values, decay):
    """Σ_s d^(t-s) p_s / Σ_s d^(t-s)."""
    weights = decay ** np.arange(len(values), dtype=np.float64)[::-1]
    return np.average(np.asarray(values, np.float64), axis=0, weights=weights)


def recursively(values, decay, start):
    average = jnp.asarray(start, jnp.asarray(values).dtype)
    for t, value in enumerate(values, 1):
        average = moved_average(average, value, jnp.asarray(t, jnp.int32), decay)
    return average


@given(decay=decays, count=st.integers(1, 12), seed=st.integers(0, 9))
def test_it_is_the_weighted_mean_of_all_values_but_the_first(decay, count, seed, x64):
    start, *values = np.random.default_rng(seed).normal(size=(1 + count, 3))
    got = recursively(jnp.asarray(values), decay, 1e6 * start)
    assert got.dtype == jnp.float64
    np.testing.assert_allclose(got, plain_average(values, decay), rtol=0, atol=1e-9)


@given(decay=decays, count=st.integers(1, 12))
def test_float32_loses_no_digits_of_the_weights(decay, count):
    values = np.random.default_rng(count).normal(size=(count, 5)).astype(np.float32)
    got = recursively(jnp.asarray(values), decay, values[0])
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, plain_average(values, decay), rtol=0, atol=2e-6)


def test_an_average_of_equal_values_is_the_value():
    got = recursively(jnp.full((50, 2), 0.3), 0.999, [7.0, 7.0])
    np.testing.assert_allclose(got, 0.3, rtol=1e-6)


def test_the_step_averages_weights_and_statistics(x64):
    model = Net(dtype=jnp.float64)
    state, step = new_state(model, ema=True), jax.jit(new_step(model, ema=0.7))
    seen = []
    for number in range(3):
        state = step(state, batch(number))
        seen.append(jax.device_get(state.variables))
    want = jax.tree.map(lambda *values: plain_average(values, 0.7), *seen)
    assert jax.tree.structure(state.ema) == jax.tree.structure(want)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-15),
        jax.device_get(state.ema),
        want,
    )


def test_averages_change_nothing_else():
    model = Net()
    step, bare = new_step(model, ema=0.7), new_step(model)
    got = jax.jit(step)(new_state(model, ema=True), batch(0))
    want = jax.jit(bare)(new_state(model), batch(0))
    assert want.ema == {}
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-7),
        got.replace(ema={}),
        want,
    )


def test_the_averaged_state_has_the_averages_as_its_weights():
    state = new_state(Net(), ema=True)
    state = state.replace(ema=jax.tree.map(lambda a: a + 1, state.ema))
    got = averaged(state)
    jax.tree.map(np.testing.assert_array_equal, got.variables, state.ema)
    rest = {"params": {}, "batch_stats": {}}
    jax.tree.map(
        np.testing.assert_array_equal, got.replace(**rest), state.replace(**rest)
    )


def test_a_state_without_averages_cannot_be_averaged():
    with pytest.raises(ValueError, match="keeps averages"):
        averaged(new_state(Net()))


def test_a_first_state_made_without_jit_can_give_its_memory_away():
    model, mesh = Net(), sharding.make_mesh(jax.devices()[:1])
    step = sharding.jit_train_step(mesh, new_step(model, ema=0.9))
    state = init(model, ema=True)
    assert int(step(state, sharding.put_batch(mesh, batch(0))).step) == 1
