"""Mixing inside a step: on any number of devices, and what the loss is of."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hlo import collectives
from support.nets import CLASSES, Net, batch, new_state, new_step

from train import sharding
from train.tasks.metrics import cross_entropy
from train.tasks.mixup import make_mix

# 24: three pairs on each of four devices.
IMAGES = np.random.default_rng(0).normal(size=(24, 7, 9, 2))
TARGETS = np.eye(5)[np.random.default_rng(1).integers(0, 5, 24)]


def test_the_result_does_not_depend_on_the_devices(devices, x64):
    mix, key, count = make_mix(0.4, 1.0), jax.random.key(3), len(devices)
    want = jax.jit(mix)(key, IMAGES, TARGETS)
    mesh = sharding.make_mesh(devices)
    put = sharding.put_batch(mesh, {"image": IMAGES, "target": TARGETS})
    by_jit = jax.jit(functools.partial(mix, shards=count))(key, *put.values())
    shares = [a.reshape(count, -1, *a.shape[1:]) for a in (IMAGES, TARGETS)]
    mapped = functools.partial(mix, axis="data")
    by_pmap = jax.pmap(mapped, "data", in_axes=(None, 0, 0), devices=devices)(
        key, *shares
    )
    for a, b, c in zip(want, by_jit, by_pmap, strict=True):
        assert a.dtype == b.dtype == c.dtype == jnp.float64
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-9)
        np.testing.assert_allclose(c.reshape(a.shape), a, rtol=0, atol=1e-9)


@pytest.mark.usefixtures("compiled_anew")
def test_devices_mix_without_telling_each_other_anything():
    mesh = sharding.make_mesh()
    mix = functools.partial(make_mix(0.2, 1.0), jax.random.key(0), shards=4)
    one = sharding.split(mesh)
    jitted = jax.jit(mix, in_shardings=(one, one), out_shardings=(one, one))
    assert collectives(jitted.lower(IMAGES, TARGETS).compile()) == set()


def metrics(model, **options):
    state = jax.jit(new_step(model, **options))(new_state(model), batch(0))
    return {name: float(v) for name, v in state.metrics.compute().items()}


def relabelled(key, images, targets, **where):
    """A `Mix` that gives every image the next class."""
    return images, jnp.roll(targets, 1, axis=-1)


def test_the_loss_is_of_the_mixed_targets_the_accuracy_of_the_own_label():
    model, state, images = Net(), new_state(Net()), batch(0)
    got, plain = metrics(model, mix=relabelled), metrics(model)
    assert got["top1"] == plain["top1"] and got["top5"] == plain["top5"]
    logits, _ = model.apply(
        state.variables, images["image"] / np.float32(255), train=True,
        mutable=["batch_stats"],
    )  # fmt: skip
    want = cross_entropy(logits, (images["label"] + 1) % CLASSES, 0.1).mean()
    assert got["loss"] == pytest.approx(float(want), rel=1e-5)
    assert got["loss"] != pytest.approx(plain["loss"], rel=1e-3)


def brightened(key, images, targets, **where):
    """A `Mix` whose images tell its key."""
    return images + jax.random.uniform(key), targets


def test_a_step_mixes_otherwise_than_another_and_another_seed():
    model = Net()
    state, step = new_state(model), jax.jit(new_step(model, mix=brightened))
    other = jax.jit(new_step(model, mix=brightened, seed=1))
    means = [
        after.batch_stats["BatchNorm_0"]["mean"].tobytes()
        for after in (
            step(state, batch(0)),
            step(state.replace(step=state.step + 1), batch(0)),
            other(state, batch(0)),
        )
    ]
    assert len(set(means)) == 3


LOGITS = np.random.default_rng(0).normal(0, 3, (4, 6)).astype(np.float32)


@given(st.floats(0, 1), st.sampled_from([0.0, 0.1]))
def test_the_loss_of_a_mixed_target_is_the_mix_of_the_losses(own, smoothing):
    one, other = np.array([0, 1, 2, 5]), np.array([3, 1, 0, 4])
    targets = own * np.eye(6)[one] + (1 - own) * np.eye(6)[other]
    loss = functools.partial(cross_entropy, jnp.asarray(LOGITS), smoothing=smoothing)
    want = own * loss(jnp.asarray(one)) + (1 - own) * loss(jnp.asarray(other))
    np.testing.assert_allclose(loss(jnp.asarray(targets)), want, rtol=1e-5)
