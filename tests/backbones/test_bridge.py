"""A backbone inside an NNX program, through Flax's bridge."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.nnx import bridge

from prm_flax import create_model

MODEL = create_model("prm_resnet14", num_classes=10, groups=8)


@pytest.fixture
def images():
    return jax.random.normal(jax.random.key(0), (4, 12, 12, 1))


@pytest.fixture
def bridged(images):
    return bridge.ToNNX(MODEL, rngs=nnx.Rngs(0)).lazy_init(images)


def test_the_bridged_backbone_gives_the_linen_one_s_logits(bridged, images):
    params, stats = {}, {}
    for path, leaf in nnx.to_flat_state(nnx.state(bridged)):
        tree = params if leaf.type is nnx.Param else stats
        if leaf.type in (nnx.Param, nnx.BatchStat):
            *parents, name = path
            for parent in parents:
                tree = tree.setdefault(parent, {})
            tree[name] = leaf.get_value()
    variables = {"params": params, "batch_stats": stats}
    want = MODEL.init(jax.random.key(1), images)
    assert jax.tree.structure(want) == jax.tree.structure(variables)
    np.testing.assert_array_equal(bridged(images), MODEL.apply(variables, images))


def test_it_trains_and_its_running_statistics_move(bridged, images):
    optimizer = nnx.Optimizer(bridged, optax.sgd(0.1), wrt=nnx.Param)
    labels = jnp.arange(4)

    @nnx.jit
    def step(model, optimizer):
        def loss_of(model):
            logits = model(images, train=True, mutable=["batch_stats"])
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return losses.mean()

        loss, grads = nnx.value_and_grad(loss_of)(model)
        optimizer.update(model, grads)
        return loss

    before = np.asarray(bridged.bn1["mean"].get_value())
    losses = [float(step(bridged, optimizer)) for _ in range(5)]
    assert losses[-1] < losses[0]
    assert not np.array_equal(before, bridged.bn1["mean"].get_value())
