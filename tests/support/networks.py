"""Networks without computing anything, and with little."""

import dataclasses
import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from prm_flax import create_model
from prm_flax.backbones.mobilenet_v2 import MobileNetV2
from prm_flax.backbones.resnet import BasicBlock, ResNet


def shapes(model, image=(64, 64, 3), batch=2, dtype=jnp.float32, **keywords):
    """What the model returns from init and from a call, as abstract arrays."""
    x = jax.ShapeDtypeStruct((batch, *image), dtype)
    key = jax.random.key(0)
    return jax.eval_shape(
        functools.partial(model.init_with_output, **keywords), key, x
    )[::-1]


def variable_shapes(model, image=(64, 64, 3)):
    """{"params/conv1/kernel": shape, …}."""
    variables, _ = shapes(model, image)
    return {
        "/".join(path): leaf.shape for path, leaf in flatten_dict(variables).items()
    }


@functools.cache
def _params(model):
    return shapes(model)[0]["params"]


def children(model, block):
    """Names of the modules with parameters inside `block`; "" is the network."""
    return set(_params(model)[block] if block else _params(model))


def tiny(**options):
    """Two blocks, the second with a stride and a shortcut: quick to compile."""
    small = {"depths": (1, 1), "stem": "3x3", "width": 8, "num_classes": 3}
    return ResNet(BasicBlock, **small | options)


def one_block_a_stage(*args, **options):
    """As `create_model` makes it, but for the repeated blocks."""
    model = create_model(*args, **options)
    if isinstance(model, ResNet):
        return model.clone(depths=(1,) * len(model.depths))

    class Shallow(type(model)):
        stages = tuple(stage._replace(repeats=1) for stage in model.stages)

    fields = {f.name: getattr(model, f.name) for f in dataclasses.fields(model)}
    return Shallow(**{f: v for f, v in fields.items() if f not in ("parent", "name")})


class ShortMobileNet(MobileNetV2):
    """The first three blocks, with and without an expansion, stride and identity."""

    stages = MobileNetV2.stages[:2]


def random_variables(model, image, dtype=jnp.float32, seed=0):
    """Every leaf moved from its initial value, so that nothing is multiplied by 0."""
    rng = np.random.default_rng(seed)

    def leaf(shape):
        fan_in = np.prod(shape[:-1]) if len(shape) > 1 else 1
        return jnp.asarray(rng.uniform(0.5, 1, shape) / np.sqrt(fan_in), dtype)

    return jax.tree.map(lambda leaf_: leaf(leaf_.shape), shapes(model, image)[0])


class Recorder(nn.Module):
    """A recalibration module that halves x and notes how it is called."""

    note: Callable[..., None]
    channels: int
    stage: int

    @nn.compact
    def __call__(self, x, train: bool = False):
        gain = self.param("gain", nn.initializers.constant(0.5), ())
        self.note((self.channels, self.stage, x.shape[-1], train))
        return x * gain


def training_gradients(model, variables, image):
    """Value, statistics and gradients of one training call on two images."""
    x = jnp.asarray(np.random.default_rng(1).normal(size=(2, *image)))

    def run(params):
        tree = variables | {"params": params}
        y, new = model.apply(tree, x, train=True, mutable=["batch_stats"])
        return jnp.square(y).sum(), new

    return jax.jit(jax.value_and_grad(run, has_aux=True))(variables["params"])
