"""The learning rates of the paper and SGD as PyTorch's."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prm_flax import create_model
from train.config import Optim
from train.optim import make_optimizer, make_schedule

IMAGENET_STEPS = 1281167 // 256
PAPER = Optim(peak_lr=0.1, schedule="step", step_epochs=30, step_factor=0.1)
MOBILE = Optim(peak_lr=0.1, schedule="cosine", warmup_epochs=5)


def paper_rate(step):
    """Initialized to 0.1 and divided by a factor of 10 every 30 epochs."""
    return 0.1 / 10 ** (step // IMAGENET_STEPS // 30)


def mobile_rate(epoch, i, steps):
    if epoch < 5:
        return 0.1 * (epoch + (i + 1) / steps) / 5
    turn = math.pi * (epoch - 5 + (i + 1) / steps) / 145
    return 0.1 / 2 * (1 + math.cos(turn))


@pytest.mark.parametrize("epoch", [0, 1, 29, 30, 31, 59, 60, 89, 90, 99])
@pytest.mark.parametrize("i", [0, 1, 2500, IMAGENET_STEPS - 1])
def test_the_paper_divides_by_ten_every_thirty_epochs(epoch, i):
    schedule = make_schedule(PAPER, 100, IMAGENET_STEPS)
    step = epoch * IMAGENET_STEPS + i
    np.testing.assert_allclose(schedule(jnp.asarray(step)), paper_rate(step), rtol=1e-6)


@given(epoch=st.integers(0, 149), share=st.floats(0, 1), steps=st.integers(1, 5004))
def test_the_mobile_recipe(epoch, share, steps):
    i = round(share * (steps - 1))
    schedule = make_schedule(MOBILE, 150, steps)
    rate = schedule(jnp.asarray(epoch * steps + i))
    np.testing.assert_allclose(rate, mobile_rate(epoch, i, steps), rtol=0, atol=1e-6)


@pytest.mark.parametrize("epoch, i", [(0, 0), (4, 4), (5, 0), (149, 4)])
def test_the_mobile_recipe_where_its_pieces_meet(epoch, i):
    rate = make_schedule(MOBILE, 150, 5)(jnp.asarray(epoch * 5 + i))
    np.testing.assert_allclose(rate, mobile_rate(epoch, i, 5), rtol=0, atol=1e-6)


@pytest.mark.parametrize("schedule", ["step", "cosine"])
def test_without_warmup_training_starts_at_the_top(schedule):
    optim = Optim(peak_lr=0.3, schedule=schedule, warmup_epochs=0)
    first = make_schedule(optim, 100, 500)(jnp.asarray(0))
    np.testing.assert_allclose(first, 0.3, rtol=1e-6)


def test_the_step_schedule_warms_up_too():
    optim = Optim(peak_lr=0.4, schedule="step", warmup_epochs=2, step_epochs=30)
    schedule = make_schedule(optim, 100, 10)
    rates = [float(schedule(jnp.asarray(step))) for step in range(21)]
    np.testing.assert_allclose(rates[:20], 0.4 * np.arange(1, 21) / 20, rtol=1e-6)
    assert rates[20] == pytest.approx(0.4)


def test_warmup_may_last_the_whole_run():
    optim = Optim(peak_lr=0.4, schedule="cosine", warmup_epochs=3)
    last = make_schedule(optim, 3, 10)(jnp.asarray(29))
    np.testing.assert_allclose(last, 0.4, rtol=1e-6)


def torch_sgd(weights, gradients, rates, momentum, nesterov, decay):
    """PyTorch's rule: decay joins the gradient, momentum sums, the rate scales."""
    buffer = np.zeros_like(weights)
    for gradient, rate in zip(gradients, rates, strict=True):
        g = gradient + decay * weights
        buffer = momentum * buffer + g
        weights = weights - rate * (g + momentum * buffer if nesterov else buffer)
    return weights


@pytest.mark.parametrize("decay", [0.0, 4e-5, 0.1])
@pytest.mark.parametrize(
    "momentum, nesterov", [(0.0, False), (0.9, False), (0.9, True)]
)
def test_sgd_is_pytorchs(momentum, nesterov, decay, x64):
    sgd = Optim(momentum=momentum, nesterov=nesterov, weight_decay=decay)
    optim = dataclasses.replace(sgd, peak_lr=0.1, schedule="step", step_epochs=2)
    optimizer = make_optimizer(optim, make_schedule(optim, 4, 2))
    generator = np.random.default_rng(0)
    start, gradients = generator.normal(size=(5, 3)), generator.normal(size=(8, 5, 3))

    params = {"kernel": jnp.asarray(start)}
    state = optimizer.init(params)
    for gradient in gradients:
        updates, state = optimizer.update({"kernel": gradient}, state, params)
        params = optax.apply_updates(params, updates)

    rates = [0.1] * 4 + [0.01] * 4
    want = torch_sgd(start, gradients, rates, momentum, nesterov, decay)
    assert params["kernel"].dtype == jnp.float64
    np.testing.assert_allclose(params["kernel"], want, rtol=1e-12)


def decayed(decay):
    """Paths of PRM-ResNet-14's parameters that shrink when their gradient is 0."""
    model = create_model("prm_resnet14", 10, groups=8)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 8, 8, 1)))
    ones = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), shapes["params"])
    zeros = jax.tree.map(jnp.zeros_like, ones)
    optim = Optim(weight_decay=0.1, decay=decay, momentum=0.0)
    optimizer = make_optimizer(optim, lambda step: 1.0)
    updates, _ = optimizer.update(zeros, optimizer.init(ones), ones)
    leaves = jax.tree_util.tree_flatten_with_path(updates)[0]
    moved = {path: np.unique(update) for path, update in leaves}
    return {path for path, values in moved.items() if np.all(values != 0)}, set(moved)


def test_decay_of_kernels_touches_exactly_the_kernels():
    touched, everything = decayed("kernels")
    assert touched == {path for path in everything if path[-1].key == "kernel"}
    assert {path[-1].key for path in everything - touched} >= {"scale", "bias", "d"}


def test_decay_of_all_touches_everything():
    touched, everything = decayed("all")
    assert touched == everything
    assert {"theta", "d", "alpha", "scale"} <= {path[-1].key for path in touched}
