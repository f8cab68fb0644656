"""PRM in a ResNet as BiT's users have it, trained over a mesh of explicit axes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import pytest
from clients import given
from jax.sharding import NamedSharding, PartitionSpec
from support.checks import assert_close

from prm_flax import PRM

pytestmark = pytest.mark.usefixtures("x64")


class StdConv(nn.Conv):
    """Weights of mean 0 and variance 1 for each output channel."""

    def param(self, name, *args, **kwargs):
        w = super().param(name, *args, **kwargs)
        if name != "kernel":
            return w
        w = w - w.mean((0, 1, 2), keepdims=True)
        return w / (jnp.std(w, axis=(0, 1, 2), keepdims=True) + 1e-5)


class Unit(nn.Module):
    """A pre-activated bottleneck."""

    features: int
    strides: int = 1
    kernel: str = "auto"

    @nn.compact
    def __call__(self, x):
        def conv(features, size, name, strides=1):
            return StdConv(features, (size, size), strides, use_bias=False, name=name)

        y = nn.relu(nn.GroupNorm(2, name="gn1")(x))
        if x.shape[-1] != 4 * self.features or self.strides > 1:
            x = conv(4 * self.features, 1, "conv_proj", self.strides)(y)
        y = conv(self.features, 1, "conv1")(y)
        y = nn.relu(nn.GroupNorm(2, name="gn2")(y))
        y = conv(self.features, 3, "conv2", self.strides)(y)
        y = nn.relu(nn.GroupNorm(2, name="gn3")(y))
        y = conv(4 * self.features, 1, "conv3")(y)
        return x + PRM(groups=4, kernel=self.kernel, name="prm")(y)


class BiT(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = StdConv(8, (3, 3), use_bias=False, name="root")(x)
        x = Unit(4, name="unit1")(x)
        x = Unit(4, strides=2, name="unit2")(x)
        x = nn.relu(nn.GroupNorm(2, name="norm")(x))
        return nn.Dense(given.CLASSES, name="head")(x.mean((1, 2)))


WHOLE = PartitionSpec()
MODEL, TX = BiT(), optax.sgd(0.1, momentum=0.9)


def new_params():
    variables = jax.jit(MODEL.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    return given.on_the_way(variables["params"])


def loss_of(params, image, label):
    logits = MODEL.apply({"params": params}, image)
    labels = jax.nn.one_hot(label, given.CLASSES)
    return optax.softmax_cross_entropy(logits, labels).mean()


@jax.jit
def train_step(params, memory, batch):
    loss, gradients = jax.value_and_grad(loss_of)(
        params, batch["image"], batch["label"]
    )
    updates, memory = TX.update(gradients, memory, params)
    return optax.apply_updates(params, updates), memory, loss


def trained(params, put=lambda batch: batch):
    memory, losses = TX.init(params), []
    for batch in given.batches():
        step = train_step(params, memory, put(batch))
        params, memory, loss = jax.block_until_ready(step)
        losses.append(loss)
    return params, memory, losses


@pytest.fixture
def mesh():
    """Two devices, and the types of arrays say how they share them."""
    return jax.make_mesh((2,), ("data",), devices=jax.devices()[:2])


def put(mesh, tree, spec=WHOLE):
    return jax.device_put(tree, NamedSharding(mesh, spec))


def split(mesh, tree):
    return put(mesh, tree, PartitionSpec("data"))


def trained_on(mesh):
    with jax.set_mesh(mesh):
        return trained(put(mesh, new_params()), lambda batch: split(mesh, batch))


def specs(tree):
    return [jax.typeof(leaf).sharding.spec for leaf in jax.tree.leaves(tree)]


def is_whole(spec):
    return not any(spec)


@pytest.mark.slow  # at each change the other networks' tests of the same name
def test_two_devices_train_as_one_does(mesh):
    assert_close(trained_on(mesh), trained(new_params()))


def test_the_parameters_stay_whole_on_both_devices(mesh):
    assert all(map(is_whole, specs(trained_on(mesh))))


@pytest.mark.parametrize("kernel", ["auto", "xla"])
def test_features_and_their_gradient_stay_split_by_image(mesh, kernel):
    """By type alone: nothing is computed."""

    def check(params, x):
        model = Unit(4, strides=2, kernel=kernel)
        y, pull = jax.vjp(lambda p, x: model.apply({"params": p}, x), params, x)
        to_params, to_x = pull(y)
        assert all(
            spec[0] == "data" and is_whole(spec[1:]) for spec in specs((y, to_x))
        )
        assert all(map(is_whole, specs(to_params)))

    with jax.set_mesh(mesh):
        x = split(mesh, jnp.ones((4, 8, 8, 16)))
        params = put(mesh, new_params()["unit2"])
        jax.eval_shape(check, params, x)


def test_every_parameter_of_every_prm_is_trained(mesh):
    before, (after, _, _) = new_params(), trained_on(mesh)
    for unit in ("unit1", "unit2"):
        old, new = (params[unit]["prm"] for params in (before, after))
        assert given.moved(old, new) == given.LEAVES
