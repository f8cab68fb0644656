"""One update, the same on any number of devices; one evaluation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.hlo import compilations
from support.nets import Net, batch, init, new_state, new_step

from train import sharding
from train.tasks.metrics import Metrics
from train.tasks.task import normalize

BITS_64 = functools.partial(Net, dtype=jnp.float64)
STEPS = 3


def assert_close(got, want, rtol=1e-9):
    """Equal trees: every number to `rtol` of its array's largest."""
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        scale = np.abs(b).max(initial=0)
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * scale + 1e-15)


@functools.cache  # every operation of an eager step compiles once
def trained_eagerly(model):
    state, step = new_state(model), new_step(model)
    for number in range(STEPS):
        state = step(state, batch(number))
    return state


@functools.cache
def trained(model, device_count):
    mesh = sharding.make_mesh(jax.devices()[:device_count])
    step = sharding.jit_train_step(mesh, new_step(model))
    state = sharding.put_state(mesh, new_state(model))
    for number in range(STEPS):
        state = step(state, sharding.put_batch(mesh, batch(number)))
    return state


def test_the_step_is_pure(x64):
    model = BITS_64()
    state, step, images = new_state(model), new_step(model), batch(0)
    before = jax.tree.map(np.array, state)
    first, second = step(state, images), step(state, images)
    jax.tree.map(np.testing.assert_array_equal, first, second)
    jax.tree.map(np.testing.assert_array_equal, state, before)


def test_a_step_moves_everything_that_learns(x64):
    model = BITS_64()
    state = new_state(model)
    after = jax.jit(new_step(model))(state, batch(0))
    assert int(after.step) == 1
    for name in ("params", "batch_stats"):
        old, new = getattr(state, name), getattr(after, name)
        assert all(jax.tree.leaves(jax.tree.map(lambda a, b: (a != b).any(), old, new)))


def test_jit_equals_eager(x64):
    got, want = trained(BITS_64(), 1), trained_eagerly(BITS_64())
    assert_close(jax.device_get(got.variables), jax.device_get(want.variables))
    assert_close(got.metrics.compute(), want.metrics.compute(), rtol=1e-6)  # float32


@pytest.mark.parametrize("batch_norm", [2, 4, "global"])
@pytest.mark.parametrize("device_count", [2, 4])
def test_any_number_of_devices_equals_one(device_count, batch_norm, x64):
    model = BITS_64(batch_norm=batch_norm)
    got, want = trained(model, device_count), trained(model, 1)
    assert_close(jax.device_get(got.variables), jax.device_get(want.variables))
    assert_close(
        jax.device_get(got.metrics.compute()),
        jax.device_get(want.metrics.compute()),
        rtol=1e-6,
    )


def test_the_step_learns_its_batch():
    model = Net()
    step, state, images = jax.jit(new_step(model)), new_state(model), batch(0)
    losses = []
    for _ in range(40):
        state = step(state.replace(metrics=Metrics.empty()), images)
        losses.append(float(state.metrics.compute()["loss"]))
    assert losses[-1] < 0.8 * losses[0]


def test_it_compiles_once_also_after_the_metrics_are_emptied(devices):
    mesh, model = sharding.make_mesh(devices), Net()
    step = sharding.jit_train_step(mesh, new_step(model, ema=0.9))
    # The state as `fit` makes it, and as its log hands it back.
    state = sharding.make_init(mesh, functools.partial(init, model, ema=True))()
    empty = sharding.put_state(mesh, Metrics.empty())
    batches = [sharding.put_batch(mesh, batch(number)) for number in range(3)]

    def steps(state):
        state = step(state, batches[1])
        return step(state.replace(metrics=empty), batches[2])

    assert compilations(lambda: None) == 0
    first = step(state, batches[0])
    assert compilations(lambda: steps(first)) == 0


def test_the_old_state_gives_its_memory_to_the_new(devices):
    mesh, model = sharding.make_mesh(devices), Net()
    old = sharding.put_state(mesh, new_state(model, ema=True))
    images = sharding.put_batch(mesh, batch(0))
    new = sharding.jit_train_step(mesh, new_step(model, ema=0.9))(old, images)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(old))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves((new, images)))


def test_dropout_is_the_same_on_any_number_of_devices(x64):
    model = BITS_64(dropout=0.5)
    got, want = trained(model, 4), trained(model, 1)
    assert_close(jax.device_get(got.params), jax.device_get(want.params))


def test_dropout_differs_by_step_and_by_seed():
    model = Net(dropout=0.5)
    state, step = new_state(model), jax.jit(new_step(model))
    later = state.replace(step=state.step + 1)
    results = [
        step(state, batch(0)),
        step(later, batch(0)),
        jax.jit(new_step(model, seed=1))(state, batch(0)),
    ]
    kernels = {r.params["Dense_0"]["kernel"].tobytes() for r in results}
    assert len(kernels) == 3


def test_without_dropout_the_seed_changes_nothing():
    model = Net()
    state = new_state(model)
    one, other = (jax.jit(new_step(model, seed=s))(state, batch(0)) for s in (0, 1))
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_images_are_normalised_by_channel():
    images = np.array([0, 51, 255], np.uint8).reshape(1, 1, 1, 3)
    got = normalize(images, (0.0, 0.5, 0.5), (1.0, 0.5, 0.25))
    np.testing.assert_allclose(got.ravel(), [0, -0.6, 2], rtol=1e-6)
