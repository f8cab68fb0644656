"""Evaluation: every image counts exactly once, and by the plain loss."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train import sharding
from train.data.records.arrays import ArraySource, eval_batches
from train.evaluate import Stopped, evaluate
from train.state import TrainState, init_state
from train.step import make_eval_step, make_predict_step
from train.tasks.classification import Classification

CLASSES = 7


class Linear(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(CLASSES)(x.reshape(len(x), -1))


TASK = Classification(
    Linear(),
    lambda images: images.astype(jnp.float32) / 50,
    image_shape=(2, 2, 1),
)


@functools.cache
def setup(devices):
    """Mesh, state and evaluation step on so many devices."""
    mesh = sharding.make_mesh(jax.devices()[:devices])
    state = init_state(TASK, optax.identity(), 0)
    step = make_eval_step(TASK)
    return mesh, state, sharding.jit_eval_step(mesh, step)


def source(count):
    generator = np.random.default_rng(count)
    images = generator.integers(0, 256, (count, 2, 2, 1), np.uint8)
    labels = generator.integers(0, CLASSES, count, np.int32)
    return ArraySource(images, labels, tuple("abcdefg"))


def by_hand(state: TrainState, images: ArraySource):
    """Loss and top-1 of all images at once, in numpy."""
    dense = {name: np.asarray(a) for name, a in state.params["Dense_0"].items()}
    flat = images.images.reshape(len(images), -1) / 50
    logits = flat @ dense["kernel"] + dense["bias"]
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    loss = -log_p[np.arange(len(images)), images.labels].mean()
    return loss, 100 * np.mean(logits.argmax(-1) == images.labels)


@pytest.mark.parametrize("devices", [1, 4])
@given(count=st.integers(1, 23), share=st.sampled_from([4, 8, 24]))
def test_every_image_counts_once(devices, count, share):
    mesh, state, step = setup(devices)
    images = source(count)
    put = functools.partial(sharding.put_batch, mesh)
    batches = eval_batches(images, share)
    numbers = evaluate(state, batches, put, step, TASK.evaluator())
    assert numbers["images"] == count
    loss, top1 = by_hand(state, images)
    assert numbers["loss"] == pytest.approx(loss, rel=1e-5)
    assert numbers["top1"] == pytest.approx(top1)


def test_a_stop_ends_it_before_the_next_batch():
    mesh, state, step = setup(1)
    seen = []

    def put(batch):
        seen.append(batch)
        return sharding.put_batch(mesh, batch)

    with pytest.raises(Stopped):
        batches = eval_batches(source(12), 4)
        evaluate(state, batches, put, step, TASK.evaluator(), stop=seen)
    assert len(seen) == 1


def test_prediction_is_what_evaluation_measures():
    _, state, _ = setup(1)
    step = make_predict_step(TASK)
    images = source(9)
    right = (
        np.asarray(step(state, {"image": images.images})).argmax(-1) == images.labels
    )
    assert 100 * right.mean() == pytest.approx(by_hand(state, images)[1])
