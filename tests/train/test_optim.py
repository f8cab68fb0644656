"""The learning rates of the paper, SGD as PyTorch's, LARS, clipping."""

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
from train.optim import make_optimizer, make_schedule, peak_rate

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
    schedule = make_schedule(PAPER, 100, IMAGENET_STEPS, 256)
    step = epoch * IMAGENET_STEPS + i
    np.testing.assert_allclose(schedule(jnp.asarray(step)), paper_rate(step), rtol=1e-6)


@given(epoch=st.integers(0, 149), share=st.floats(0, 1), steps=st.integers(1, 5004))
def test_the_mobile_recipe(epoch, share, steps):
    i = round(share * (steps - 1))
    schedule = make_schedule(MOBILE, 150, steps, 256)
    rate = schedule(jnp.asarray(epoch * steps + i))
    np.testing.assert_allclose(rate, mobile_rate(epoch, i, steps), rtol=0, atol=1e-6)


@pytest.mark.parametrize("epoch, i", [(0, 0), (4, 4), (5, 0), (149, 4)])
def test_the_mobile_recipe_where_its_pieces_meet(epoch, i):
    rate = make_schedule(MOBILE, 150, 5, 256)(jnp.asarray(epoch * 5 + i))
    np.testing.assert_allclose(rate, mobile_rate(epoch, i, 5), rtol=0, atol=1e-6)


@pytest.mark.parametrize("schedule", ["step", "cosine"])
def test_without_warmup_training_starts_at_the_top(schedule):
    optim = Optim(peak_lr=0.3, schedule=schedule, warmup_epochs=0)
    first = make_schedule(optim, 100, 500, 256)(jnp.asarray(0))
    np.testing.assert_allclose(first, 0.3, rtol=1e-6)


def test_the_step_schedule_warms_up_too():
    optim = Optim(peak_lr=0.4, schedule="step", warmup_epochs=2, step_epochs=30)
    schedule = make_schedule(optim, 100, 10, 256)
    rates = [float(schedule(jnp.asarray(step))) for step in range(21)]
    np.testing.assert_allclose(rates[:20], 0.4 * np.arange(1, 21) / 20, rtol=1e-6)
    assert rates[20] == pytest.approx(0.4)


def test_warmup_may_last_the_whole_run():
    optim = Optim(peak_lr=0.4, schedule="cosine", warmup_epochs=3)
    last = make_schedule(optim, 3, 10, 256)(jnp.asarray(29))
    np.testing.assert_allclose(last, 0.4, rtol=1e-6)


@pytest.mark.parametrize("schedule", ["step", "cosine"])
@pytest.mark.parametrize("batch_size, rate", [(256, 0.1), (1024, 0.4), (32, 0.0125)])
def test_the_rate_is_in_proportion_to_the_batch(schedule, batch_size, rate):
    optim = Optim(peak_lr=0.1, lr_images=256, schedule=schedule)
    first = make_schedule(optim, 100, 10**6, batch_size)(jnp.asarray(0))
    np.testing.assert_allclose(first, rate, rtol=1e-6)
    assert peak_rate(optim, batch_size) == pytest.approx(rate)


def test_without_lr_images_the_batch_does_not_matter():
    assert {peak_rate(Optim(peak_lr=0.3), images) for images in (7, 8192)} == {0.3}


def trained(optimizer, params, gradients):
    """The parameters after an update by each of the gradients."""
    params = jax.tree.map(jnp.asarray, params)
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for gradient in gradients:
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params


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
    optimizer = make_optimizer(optim, make_schedule(optim, 4, 2, 8))
    generator = np.random.default_rng(0)
    start, gradients = generator.normal(size=(5, 3)), generator.normal(size=(8, 5, 3))

    steps = [{"kernel": gradient} for gradient in gradients]
    params = trained(optimizer, {"kernel": start}, steps)
    rates = [0.1] * 4 + [0.01] * 4
    want = torch_sgd(start, gradients, rates, momentum, nesterov, decay)
    assert params["kernel"].dtype == jnp.float64
    np.testing.assert_allclose(params["kernel"], want, rtol=1e-12)


def numpy_lars(weights, gradients, rate, optim, decay):
    """You et al., algorithm 1, with ‖g + decay·w‖; vectors have the global rate."""
    buffer = np.zeros_like(weights)
    for gradient in gradients:
        g = gradient + decay * weights
        local = 0.001 * np.linalg.norm(weights) / np.linalg.norm(g)
        g = rate * g * (local if weights.ndim > 1 else 1)
        buffer = optim.momentum * buffer + g
        weights = weights - (g + optim.momentum * buffer if optim.nesterov else buffer)
    return weights


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("no_decay", [(), ("biases",)])
def test_lars(no_decay, nesterov, x64):
    optim = Optim(optimizer="lars", nesterov=nesterov, weight_decay=0.1)
    optim = dataclasses.replace(optim, no_decay=no_decay)
    generator = np.random.default_rng(0)
    start = {"kernel": generator.normal(size=(5, 3)), "bias": generator.normal(size=3)}
    gradients = [
        {name: generator.normal(size=leaf.shape) for name, leaf in start.items()}
        for _ in range(8)
    ]
    got = trained(make_optimizer(optim, lambda step: 2.0), start, gradients)
    for name, leaf in start.items():
        decay = 0 if no_decay and name == "bias" else 0.1
        own = [gradient[name] for gradient in gradients]
        want = numpy_lars(leaf, own, 2.0, optim, decay)
        assert got[name].dtype == jnp.float64
        np.testing.assert_allclose(got[name], want, rtol=1e-12)


def one_update(optim, params, gradient):
    optimizer = make_optimizer(optim, lambda step: 1.0)
    moved = trained(optimizer, params, [gradient])
    return jax.tree.map(np.subtract, moved, params)


GRADIENT = {"a": np.array([3.0, 0.0]), "b": np.array([[-4.0]])}  # of length 5
ZEROS = jax.tree.map(np.zeros_like, GRADIENT)


@pytest.mark.parametrize("clip_norm", [1.0, 4.9])
def test_a_long_gradient_is_shortened_and_keeps_its_direction(clip_norm, x64):
    optim = Optim(momentum=0.0, weight_decay=0.0, clip_norm=clip_norm)
    moved = one_update(optim, ZEROS, GRADIENT)
    np.testing.assert_allclose(moved["a"], [-3 * clip_norm / 5, 0], rtol=1e-12)
    np.testing.assert_allclose(moved["b"], [[4 * clip_norm / 5]], rtol=1e-12)


@pytest.mark.parametrize("clip_norm", [5.1, None])
def test_a_short_gradient_is_left_alone(clip_norm, x64):
    optim = Optim(momentum=0.0, weight_decay=0.0, clip_norm=clip_norm)
    moved = one_update(optim, ZEROS, GRADIENT)
    jax.tree.map(lambda m, g: np.testing.assert_array_equal(m, -g), moved, GRADIENT)


def test_decay_is_not_clipped(x64):
    optim = Optim(momentum=0.0, weight_decay=0.5, clip_norm=1.0)
    params = {"a": np.array([100.0, 10.0]), "b": np.array([[0.0]])}
    moved = one_update(optim, params, GRADIENT)
    np.testing.assert_allclose(moved["a"], [-0.6 - 50, -5], rtol=1e-12)
    np.testing.assert_allclose(moved["b"], [[0.8]], rtol=1e-12)


KERNELS_ONLY = ("norms", "biases", "prm")


@pytest.mark.parametrize(
    "optimizer, no_decay",
    [("sgd", ()), ("sgd", KERNELS_ONLY), ("lars", KERNELS_ONLY)],
)
def test_exempt_parameters_stay_where_their_gradient_is_zero(optimizer, no_decay):
    model = create_model("prm_resnet14", 10, groups=8)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 8, 8, 1)))
    ones = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes["params"])
    optim = Optim(optimizer=optimizer, no_decay=no_decay, momentum=0.0)
    optim = dataclasses.replace(optim, weight_decay=0.1)
    moved = one_update(optim, ones, jax.tree.map(np.zeros_like, ones))
    leaves = jax.tree_util.tree_flatten_with_path(moved)[0]
    decayed = {path for path, leaf in leaves if (leaf < 0).all()}
    still = {path for path, leaf in leaves if (leaf == 0).all()}
    kernels = {path for path, _ in leaves if path[-1].key == "kernel"}
    assert decayed == (kernels if no_decay else {path for path, _ in leaves})
    assert decayed | still == {path for path, _ in leaves}
