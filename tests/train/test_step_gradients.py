"""A batch in parts makes the same update, and no image moves to another device."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hlo import collectives
from support.nets import Net, batch, new_state, new_step

from train import sharding
from train.step import in_parts, part_slices
from train.tasks.metrics import Metrics
from train.tasks.mixup import make_mix

MODEL = Net(batch_norm=2, dtype=jnp.float64)
STEPS = 3


def trained(device_count, **options):
    mesh = sharding.make_mesh(jax.devices()[:device_count])
    step = new_step(MODEL, shards=device_count, **options)
    jitted = sharding.jit_train_step(mesh, step)
    state = sharding.put_state(mesh, new_state(MODEL))
    for number in range(STEPS):
        state = jitted(state, sharding.put_batch(mesh, batch(number)))
    return jax.device_get(state)


undivided = functools.cache(functools.partial(trained, 1))


def assert_same_update(got, want):
    def close(a, b):
        atol = 1e-9 * np.abs(b).max(initial=0) + 1e-15
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)

    jax.tree.map(close, got.variables, want.variables)
    jax.tree.map(close, got.opt_state, want.opt_state)
    for name, value in want.metrics.compute().items():
        assert float(got.metrics.compute()[name]) == pytest.approx(float(value))
    assert got.metrics.loss.count == want.metrics.loss.count == 16 * STEPS


@pytest.mark.parametrize("device_count, parts", [(1, 8), (2, 4), (4, 2)])
def test_accumulation_equals_the_undivided_batch(device_count, parts, x64):
    assert_same_update(trained(device_count, accumulate=parts), undivided())


def test_mixed_batches_are_mixed_before_they_are_divided(x64):
    mix = make_mix(0.4, 1.0)
    got = trained(4, accumulate=2, mix=mix)
    assert_same_update(got, undivided(mix=mix))


def gradients_that_tell_their_key(variables, examples, key):
    x = jax.random.normal(key)
    return {"x": x, "x²": x**2}, {}, Metrics.empty()


def test_every_part_has_its_own_key():
    zeros = {"x": jnp.zeros(()), "x²": jnp.zeros(())}
    variables = {"params": zeros, "batch_stats": {}}
    gradients_of = in_parts(gradients_that_tell_their_key, 4, 1)
    mean, _, _ = gradients_of(variables, {"label": jnp.zeros(8)}, jax.random.key(0))
    assert mean["x²"] - mean["x"] ** 2 > 1e-3


@pytest.mark.parametrize("parts", [1, 4])
def test_every_part_starts_from_the_same_running_statistics(parts, x64):
    state, step = new_state(MODEL), jax.jit(new_step(MODEL, accumulate=parts))
    more = jax.tree.map(lambda old: old + 1, state.batch_stats)
    got = [step(s, batch(0)) for s in (state.replace(batch_stats=more), state)]
    moved = jax.tree.map(jnp.subtract, *(after.batch_stats for after in got))
    jax.tree.map(lambda m: np.testing.assert_allclose(m, 0.9), moved)  # the momentum


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
def test_a_part_is_the_next_slice_of_every_share(shards, parts, size):
    images = np.arange(shards * parts * size * 2).reshape(-1, 2)
    got = np.asarray(part_slices(images, parts, shards))
    assert got.shape == (parts, shards * size, 2)
    shares = np.split(images, shards)
    for number, part in enumerate(got):
        own = slice(number * size, (number + 1) * size)
        np.testing.assert_array_equal(part, np.concatenate([s[own] for s in shares]))


def test_a_batch_that_does_not_divide_is_refused():
    step = new_step(Net(batch_norm=1), accumulate=3, shards=2)
    with pytest.raises(ValueError, match=r"16 images, 3 parts, 2 devices"):
        jax.eval_shape(step, new_state(Net()), batch(0))


def compiled(model, devices, images, **options):
    mesh = sharding.make_mesh(jax.devices()[:devices])
    whole, split = sharding.replicated(mesh), sharding.split(mesh)
    step = jax.jit(
        new_step(model, **options), in_shardings=(whole, split), out_shardings=whole
    )
    state = sharding.put_state(mesh, new_state(model))
    return step.lower(state, sharding.put_batch(mesh, batch(0, images))).compile()


@pytest.mark.usefixtures("compiled_anew")
@pytest.mark.parametrize("mix", [None, make_mix(0.4, 1.0)])
def test_no_image_moves_to_another_device(mix):
    program = compiled(Net(), 4, 32, accumulate=2, shards=4, mix=mix)
    assert collectives(program) == {"all-reduce"}


@pytest.mark.usefixtures("compiled_anew")
def test_parts_that_ignore_the_shares_would_move_images():
    program = compiled(Net(), 4, 32, accumulate=2, shards=1)
    assert collectives(program) > {"all-reduce"}


@pytest.mark.usefixtures("compiled_anew")
def test_parts_need_less_memory():
    def memory(parts):
        program = compiled(Net(), 1, 512, accumulate=parts)
        return program.memory_analysis().temp_size_in_bytes

    assert memory(8) < memory(1) / 2
