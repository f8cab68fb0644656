"""PRM in a network as users of Flax's ImageNet example have it, trained by pmap."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import pytest
from clients import given
from flax import jax_utils
from flax.training import train_state
from support.checks import assert_close, assert_finite

from prm_flax import PRM

pytestmark = pytest.mark.usefixtures("x64")
DEVICES = 2


class BottleneckBlock(nn.Module):
    filters: int
    conv: Any
    norm: Any
    act: Callable
    strides: tuple[int, int] = (1, 1)

    @nn.compact
    def __call__(self, x):
        y = self.conv(self.filters, (1, 1))(x)
        y = self.act(self.norm()(y))
        y = self.conv(self.filters, (3, 3), self.strides)(y)
        y = self.act(self.norm()(y))
        y = self.conv(self.filters * 4, (1, 1))(y)
        y = self.norm(scale_init=nn.initializers.zeros_init())(y)
        y = PRM(groups=4, name="prm")(y)
        if x.shape != y.shape:
            x = self.conv(self.filters * 4, (1, 1), self.strides, name="conv_proj")(x)
            x = self.norm(name="norm_proj")(x)
        return self.act(x + y)


class ResNet(nn.Module):
    dtype: Any = jnp.float64

    @nn.compact
    def __call__(self, x, train: bool = True):
        conv = functools.partial(nn.Conv, use_bias=False, dtype=self.dtype)
        norm = functools.partial(
            nn.BatchNorm, use_running_average=not train, momentum=0.9, dtype=self.dtype
        )
        x = nn.relu(norm(name="bn_init")(conv(8, (3, 3), name="conv_init")(x)))
        for block in range(2):
            strides = (2, 2) if block else (1, 1)
            x = BottleneckBlock(4, conv, norm, nn.relu, strides)(x)
        return nn.Dense(given.CLASSES, dtype=self.dtype)(x.mean((1, 2)))


class TrainState(train_state.TrainState):
    batch_stats: Any


MODEL, TX = ResNet(), optax.sgd(0.1, momentum=0.9, nesterov=True)


def new_state(start):
    variables = jax.jit(MODEL.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    variables = start(variables)
    return TrainState.create(apply_fn=MODEL.apply, tx=TX, **variables)


def gradients(state, batch):
    def loss(params):
        variables = {"params": params, "batch_stats": state.batch_stats}
        logits, new = state.apply_fn(variables, batch["image"], mutable=["batch_stats"])
        labels = jax.nn.one_hot(batch["label"], given.CLASSES)
        weights = [w for w in jax.tree.leaves(params) if w.ndim > 1]
        decay = 1e-4 * 0.5 * sum(jnp.sum(w**2) for w in weights)
        return optax.softmax_cross_entropy(logits, labels).mean() + decay, new

    return jax.value_and_grad(loss, has_aux=True)(state.params)


@functools.partial(jax.pmap, axis_name="batch", devices=jax.devices()[:DEVICES])
def train_step(state, batch):
    (loss, new), grads = gradients(state, batch)
    grads = jax.lax.pmean(grads, axis_name="batch")
    state = state.apply_gradients(grads=grads, batch_stats=new["batch_stats"])
    return state, jax.lax.pmean(loss, "batch")


def halves(batch):
    return jax.tree.map(lambda a: a.reshape(DEVICES, -1, *a.shape[1:]), batch)


def of_device(number, tree):
    return jax.tree.map(lambda a: a[number], tree)


def trained_by_pmap(state):
    """The states of both devices, and the loss of each step."""
    state, losses = jax_utils.replicate(state, jax.devices()[:DEVICES]), []
    for batch in given.batches():
        state, loss = jax.block_until_ready(train_step(state, halves(batch)))
        losses.append(loss[0])
    return [of_device(d, state) for d in range(DEVICES)], losses


@jax.jit
def updated(states, batch):
    """Each half of the images after the other, with its own statistics."""
    own = [of_device(d, halves(batch)) for d in range(DEVICES)]
    found = [gradients(*both) for both in zip(states, own, strict=True)]
    grads = jax.tree.map(lambda *g: sum(g) / DEVICES, *[grads for _, grads in found])
    states = [
        state.apply_gradients(grads=grads, batch_stats=new["batch_stats"])
        for state, ((_, new), _) in zip(states, found, strict=True)
    ]
    return states, sum(loss for (loss, _), _ in found) / DEVICES


def trained_on_one_device(state):
    states, losses = [state] * DEVICES, []
    for batch in given.batches():
        states, loss = updated(states, batch)
        losses.append(loss)
    return states, losses


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(given.wide, id="new", marks=pytest.mark.slow),
        pytest.param(given.on_the_way, id="later"),
    ],
)
def test_two_devices_train_as_one_does(start):
    got, want = (
        trained_by_pmap(new_state(start)),
        trained_on_one_device(new_state(start)),
    )
    assert_finite(got)
    assert_close(got, want)


def test_every_parameter_of_every_prm_is_trained():
    before = new_state(given.on_the_way)
    (after, _), _ = trained_by_pmap(before)
    for block in ("BottleneckBlock_0", "BottleneckBlock_1"):
        old, new = (state.params[block]["prm"] for state in (before, after))
        assert given.moved(old, new) == given.LEAVES
