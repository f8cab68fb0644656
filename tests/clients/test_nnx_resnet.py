"""PRM in an NNX ResNet, trained by nnx.jit and nnx.Optimizer."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from clients import given
from flax import nnx
from support.checks import assert_close

from prm_flax.nnx import PRM

pytestmark = pytest.mark.usefixtures("x64")
TX = optax.sgd(0.1, momentum=0.9)


class Block(nnx.Module):
    def __init__(self, inputs, features, strides=1, *, rngs):
        self.conv1 = nnx.Conv(inputs, features, (3, 3), strides, rngs=rngs)
        self.norm1 = nnx.BatchNorm(features, rngs=rngs)
        self.conv2 = nnx.Conv(features, features, (3, 3), rngs=rngs)
        self.norm2 = nnx.BatchNorm(features, rngs=rngs)
        self.prm = PRM(4, rngs=rngs)
        self.shortcut = nnx.Conv(inputs, features, (1, 1), strides, rngs=rngs)

    def __call__(self, x):
        y = nnx.relu(self.norm1(self.conv1(x)))
        y = self.prm(self.norm2(self.conv2(y)))
        return nnx.relu(y + self.shortcut(x))


class ResNet(nnx.Module):
    def __init__(self, *, rngs):
        self.stem = nnx.Conv(3, 8, (3, 3), rngs=rngs)
        self.blocks = nnx.List([Block(8, 8, rngs=rngs), Block(8, 16, 2, rngs=rngs)])
        self.head = nnx.Linear(16, given.CLASSES, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((1, 2)))


def new_model():
    model = nnx.jit(lambda: ResNet(rngs=nnx.Rngs(0)))()
    nnx.update(model, given.on_the_way(nnx.state(model, nnx.Param)))
    nnx.update(model, given.wide(nnx.state(model, nnx.BatchStat)))
    return model


def loss_of(model, batch):
    logits = model(batch["image"])
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
    return losses.mean()


@nnx.jit
def train_step(model, optimizer, batch):
    loss, gradients = nnx.value_and_grad(loss_of)(model, batch)
    optimizer.update(model, gradients)
    return loss


def trained(model, steps=2):
    """The losses; the model changes in place."""
    model.train()
    optimizer = nnx.Optimizer(model, TX, wrt=nnx.Param)
    return [train_step(model, optimizer, batch) for batch in given.batches(steps=steps)]


def trained_as_functions(model, steps=2):
    """The losses and the state, by jax.jit and optax alone."""
    model.train()
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    def loss(params, rest, batch):
        model = nnx.merge(graph, params, rest, copy=True)
        return loss_of(model, batch), nnx.state(model, nnx.Not(nnx.Param))

    @jax.jit
    def step(params, rest, memory, batch):
        run = jax.value_and_grad(loss, has_aux=True)
        (value, rest), gradients = run(params, rest, batch)
        updates, memory = TX.update(gradients, memory, params)
        return optax.apply_updates(params, updates), rest, memory, value

    memory, losses = TX.init(params), []
    for batch in given.batches(steps=steps):
        params, rest, memory, value = step(params, rest, memory, batch)
        losses.append(value)
    return losses, nnx.merge_state(params, rest)


def test_it_trains_as_pure_functions_do():
    model = new_model()
    want, state = trained_as_functions(new_model())
    assert_close(trained(model), want)
    got, state = (nnx.to_pure_dict(each) for each in (nnx.state(model), state))
    assert_close(got, state)


def test_every_parameter_of_every_prm_is_trained():
    model, before = new_model(), new_model()
    trained(model)
    for old, new in zip(before.blocks, model.blocks, strict=True):
        old, new = (nnx.to_pure_dict(nnx.state(block.prm)) for block in (old, new))
        assert given.moved(old, new) == given.LEAVES


def test_the_loss_falls():
    (batch,) = given.batches(steps=1)
    model = new_model()
    optimizer = nnx.Optimizer(model, TX, wrt=nnx.Param)
    first, second = (train_step(model, optimizer, batch) for _ in range(2))
    assert second < first


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_model_split_and_merged_says_the_same(mode):
    model = new_model()
    trained(model, steps=1)
    getattr(model, mode)()
    merged = nnx.merge(*nnx.split(model))
    run, x = nnx.jit(lambda model, x: model(x)), given.batches()[0]["image"]
    np.testing.assert_array_equal(
        run(merged, jnp.asarray(x)), run(model, jnp.asarray(x))
    )
