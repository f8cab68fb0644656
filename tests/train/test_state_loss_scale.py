"""float16: gradients it cannot hold are scaled, and a scale too large is halved."""

import contextlib
import functools
from types import SimpleNamespace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.nets import task, train_step
from support.saved import assert_same_bits, at, like

from train import sharding
from train.checkpoints.leaves import dotted
from train.checkpoints.manager import Checkpoints
from train.hooks import TrainHooks
from train.nonfinite import make_diagnosis
from train.state import LossScale, init_state

IMAGE = (1, 1, 1)
CLASSES = 5
# Of float16, with its rounding of the logits' gradients and of the kernel's.
PRECISION = 2**-10


class Dense(nn.Module):
    """x -> gain · (W x), W = 0 at first: a class's gradient is gain · x · (p - t)."""

    dtype: Any
    gain: float = 1.0

    @nn.compact
    def __call__(self, x, train=False):
        zeros = nn.initializers.zeros
        dense = nn.Dense(CLASSES, use_bias=False, dtype=self.dtype, kernel_init=zeros)
        return self.gain * dense(x.mean((1, 2))).astype(jnp.float32)


def batch(*pixels):
    """Images of one pixel, all of class 0."""
    image = np.array(pixels, np.float32).reshape(-1, *IMAGE)
    return {"image": image, "label": np.zeros(len(pixels), np.int32)}


GOOD = batch(0.25, 0.25, 0.25, 0.25)
# 0.8 · 2 · 2^16 is beyond float16's largest number, 65504; half of it is not.
OVERFLOWS = batch(2, 2, 2, 2)
PLAIN = optax.sgd(1.0)
CHAIN = optax.chain(
    optax.clip_by_global_norm(0.1),
    optax.add_decayed_weights(0.1),
    optax.sgd(0.2, 0.9, nesterov=True),
)


def identity(images):
    return images


def first(model, optimizer=CHAIN, scale=None, ema=False):
    """The first state, its loss scaled by `scale` or, for None, not at all."""
    state = init_state(
        task(model, image_shape=IMAGE), optimizer, 0, ema, loss_scale=scale is not None
    )
    if scale is None:
        return state
    value = jnp.asarray(scale, jnp.float32)
    return state.replace(loss_scale=state.loss_scale.replace(value=value))


@functools.cache
def step_of(model, optimizer=CHAIN, **options):
    return jax.jit(train_step(model, optimizer, identity, **options))


HALF, FULL = Dense(jnp.float16), Dense(jnp.float32)


def numbers(state):
    """Scale, updates at it, overflows; steps, skipped ones, the bad one."""
    scale = state.loss_scale
    found = (*vars(scale).values(), state.step, state.skipped, state.bad_step)
    return tuple(float(number) for number in found)


def assert_left_out(after, before):
    """Nothing but counters and scale is another."""
    others = vars(before).keys() - {"step", "loss_scale", "skipped", "bad_step"}
    for name in others:
        assert_same_bits(getattr(after, name), getattr(before, name))


def test_gradients_of_1e_9_arrive():
    gain = 2e-8
    expected = gain * 0.25 * np.array([0.8, -0.2, -0.2, -0.2, -0.2])  # minus gradient
    assert np.abs(expected).min() == pytest.approx(1e-9)

    def moved(dtype, scale):
        model = Dense(dtype, gain)
        state = first(model, PLAIN, scale)
        return step_of(model, PLAIN)(state, GOOD).params["Dense_0"]["kernel"][0]

    np.testing.assert_allclose(moved(jnp.float32, None), expected, rtol=1e-6)
    scaled = moved(jnp.float16, 2.0**16)
    np.testing.assert_allclose(scaled, expected, rtol=PRECISION)
    np.testing.assert_array_equal(moved(jnp.float16, None), np.zeros(CLASSES))


@functools.cache
def after_good_and_overflow():
    """The states before and after each of three steps; the second overflows."""
    step = step_of(HALF, ema=0.9)
    states = [first(HALF, scale=2.0**16, ema=True)]
    for images in (GOOD, OVERFLOWS, OVERFLOWS):
        states.append(step(states[-1], images))
    return states


def test_an_overflow_halves_the_scale_and_nothing_else_moves():
    start, good, overflow, _ = after_good_and_overflow()
    assert numbers(start) == (2**16, 0, 0, 0, 0, 0)
    assert numbers(good) == (2**16, 1, 0, 1, 0, 0)
    assert numbers(overflow) == (2**15, 0, 1, 2, 0, 0)
    assert_left_out(overflow, good)


def test_the_step_after_an_overflow_is_float32s():
    """With clipping, decay, momentum and the average, which counts updates only."""
    *_, last = after_good_and_overflow()
    assert numbers(last) == (2**15, 1, 1, 3, 0, 0)
    step, want = step_of(FULL, ema=0.9), first(FULL, ema=True)
    for images in (GOOD, OVERFLOWS):
        want = step(want, images)
    for name in ("params", "opt_state", "ema"):
        close = functools.partial(np.testing.assert_allclose, rtol=2 * PRECISION)
        jax.tree.map(close, getattr(last, name), getattr(want, name))


def test_at_scale_1_an_overflow_is_a_bad_step():
    model = Dense(jnp.float16, gain=100.0)
    huge = batch(1e4, 1e4, 1e4, 1e4)
    state, step = first(model, scale=2.0), step_of(model)
    halved = step(state, huge)
    assert numbers(halved) == (1, 0, 1, 1, 0, 0)
    after = step(halved, huge)
    assert numbers(after) == (1, 0, 1, 1, 0, 2)
    assert_left_out(after, state)
    assert numbers(step(after, GOOD)) == numbers(after)
    message = make_diagnosis(task(model, identity))(
        after, huge | {"index": np.arange(4)}
    )
    assert message.startswith(
        "step 2: the loss is finite; first bad layer: Dense_0 (gradient)"
    )


@pytest.mark.parametrize("skip, counted", [(0, (0, 0, 1)), (1, (1, 1, 0))])
def test_a_loss_that_is_not_finite_is_a_bad_step_at_any_scale(skip, counted):
    state = first(HALF, scale=2.0**16)
    after = step_of(HALF, skip_bad_steps=skip)(state, batch(1, np.nan, 1, 1))
    assert numbers(after) == (2**16, 0, 0, *counted)
    assert_left_out(after, state)


def test_after_a_bad_step_the_scale_stays():
    step = step_of(HALF)
    bad = step(first(HALF, scale=2.0**16), batch(1, np.nan, 1, 1))
    assert numbers(step(bad, OVERFLOWS)) == numbers(bad)


@pytest.mark.parametrize(
    "before, after",
    [
        ((2**15, 1998), (2**15, 1999)),
        ((2**15, 1999), (2**16, 0)),
        ((2**24, 1999), (2**24, 0)),  # the largest
    ],
)
def test_two_thousand_updates_double_the_scale(before, after):
    value, good = before
    scale = LossScale(jnp.float32(value), jnp.int32(good), jnp.int32(3))
    got = scale.after_update()
    assert tuple(float(number) for number in vars(got).values()) == (*after, 3)
    jax.tree.map(lambda a, b: a.dtype == b.dtype or pytest.fail(), got, scale)


def trained(parallel, device_count, **options):
    """The states after a good step, one where one image overflows, a good one."""
    mesh = sharding.make_mesh(jax.devices()[:device_count])
    way = sharding.PARALLEL[parallel]
    made = train_step(HALF, CHAIN, identity, ema=0.9, **options)
    step = way.train_step(mesh, made)
    state = sharding.put_state(mesh, first(HALF, scale=2.0**16, ema=True))
    good = np.tile(GOOD["image"].ravel(), 2)
    found = []
    for pixels in (good, np.append(good[:-1], -1e4), good):
        state = step(state, way.put(mesh, batch(*pixels)))
        found.append(jax.device_get(state))
    return found


once = functools.cache(functools.partial(trained, "jit", 1))


@pytest.mark.parametrize(
    "parallel, device_count, options",
    [
        ("jit", 1, {"accumulate": 4}),
        ("jit", 2, {"shards": 2}),
        ("jit", 4, {"shards": 4}),
        ("pmap", 2, {}),
        ("pmap", 4, {"accumulate": 2}),
    ],
)
def test_the_whole_batch_overflows_on_any_devices_and_in_any_parts(
    parallel, device_count, options
):
    found = trained(parallel, device_count, **options)
    assert_left_out(found[1], found[0])
    for got, want in zip(found, once(), strict=True):
        assert numbers(got) == numbers(want)
        for name in ("params", "opt_state", "ema"):
            close = functools.partial(np.testing.assert_allclose, rtol=2 * PRECISION)
            jax.tree.map(close, getattr(got, name), getattr(want, name))
    assert numbers(found[-1]) == (2**15, 1, 1, 3, 0, 0)


@pytest.mark.usefixtures("compiled_anew")
def test_a_scaled_update_takes_no_memory_of_its_own():
    state = first(HALF, scale=2.0**16, ema=True)
    made = train_step(HALF, CHAIN, identity, ema=0.9)
    step = jax.jit(made, donate_argnums=0)
    memory = step.lower(state, GOOD).compile().memory_analysis()
    assert memory.alias_size_in_bytes == sum(a.nbytes for a in jax.tree.leaves(state))


def test_the_scale_is_saved_and_a_resumed_run_ends_in_the_same_bits(tmp_path):
    _, _, state, want = after_good_and_overflow()
    with contextlib.closing(Checkpoints(tmp_path, 1)) as checkpoints:
        checkpoints.save(state, {})
    got, _ = Checkpoints(tmp_path).restore(like(state))
    assert_same_bits(got, state)
    assert_same_bits(step_of(HALF, ema=0.9)(got, OVERFLOWS), want)


def test_without_a_scale_the_state_is_what_it_was():
    """Runs saved before there were scales go on."""
    init = functools.partial(
        init_state, task(FULL, image_shape=IMAGE), CHAIN, 0, ema=True
    )
    paths, _ = jax.tree_util.tree_flatten_with_path(jax.eval_shape(init))
    assert {dotted(path).partition(".")[0] for path, _ in paths} == {
        "step", "params", "opt_state", "ema", "metrics", "skipped", "bad_step"
    }  # fmt: skip


@pytest.mark.parametrize(
    "scale, recorded", [(None, None), (2.0**16, {"loss_scale": 2.0**16})]
)
def test_a_run_records_its_scale(scale, recorded):
    experiment: Any = SimpleNamespace(
        config=SimpleNamespace(batch_size=4, epochs=1),
        steps=2,
        steps_per_epoch=2,
        schedule=lambda step: 0.1,
        task=task(HALF),
        input=SimpleNamespace(skipped=0),
        mesh=sharding.make_mesh(),
    )
    written = []
    parts: Any = SimpleNamespace(
        write=written.append, read=lambda: 1.0, take_waited=lambda: 0.0
    )
    run = TrainHooks(experiment, parts, parts, parts, parts, parts, lambda: None, 0)
    run.log(1, at(first(HALF, scale=scale), 1))
    found = {k: v for k, v in written[0].items() if k in ("loss_scale", "overflows")}
    assert found == ({} if recorded is None else recorded | {"overflows": 0})
