"""What the matrix of transformations is about: every module, and two small networks."""

import functools
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from support import prm_cases as cases

from prm_flax import PRM, create_model, recalibrate
from prm_flax.attention import CBAM, GC, GE, SE, SGE, SK
from prm_flax.nnx import PRM as NNXPRM

GROUPS, CHANNELS = 2, 8
MAPS = (2, 4, 6, CHANNELS)
IMAGES = (2, 8, 8, 3)


def _function(similarity):
    def apply(params, x):
        return recalibrate(x, params, similarity=similarity)

    return apply, cases.params(0, GROUPS), MAPS


def _linen(module, shape=MAPS):
    variables = jax.eval_shape(module.init, jax.random.key(0), jnp.ones(shape))
    return module.apply, _moved(variables), shape


def _nnx():
    graph, state = nnx.split(NNXPRM(GROUPS, rngs=nnx.Rngs(0)))

    def apply(params, x):
        own = nnx.clone(state)
        nnx.replace_by_pure_dict(own, params)
        return nnx.merge(graph, own)(x)

    return apply, _moved(nnx.to_pure_dict(state)), MAPS


def _moved(variables):
    rng = np.random.default_rng(2)
    # Up, for the variances.
    return jax.tree.map(lambda leaf: rng.uniform(0.4, 1.2, leaf.shape), variables)


def _network(name):
    # A stage of one block each is enough to hold every kind of layer.
    network = create_model(name, num_classes=5, groups=GROUPS)
    return _linen(network.clone(depths=(1, 1, 1)), IMAGES)


_MAKERS = MappingProxyType(
    {f"function, {name}": (_function, name) for name in cases.SIMILARITIES}
    | {
        "linen": (_linen, PRM(GROUPS)),
        "nnx": (lambda _: _nnx(), None),
        "sge": (_linen, SGE(GROUPS)),
        "se": (_linen, SE(4)),
        "gc": (_linen, GC(4)),
        "cbam": (_linen, CBAM(4)),
        "ge": (_linen, GE()),
        "ge, windows": (_linen, GE(2)),
        "sk": (_linen, SK(CHANNELS, groups=GROUPS)),
        "prm network": (_network, "prm_resnet14"),
        "sge network": (_network, "sge_resnet14"),
    }
)
SUBJECTS = tuple(_MAKERS)
NETWORKS = ("prm network", "sge network")


class Subject:
    """A function of variables and features, an input, and what it is alone.

    Attributes:
        apply: (variables, x) -> y, in inference.
        inputs: variables away from where gradients are 0, x (2, h, w, c); float64.
        is_network: whether it is a whole network.
    """

    def __init__(self, name: str):
        maker, argument = _MAKERS[name]
        self.apply, variables, shape = maker(argument)
        x = np.random.default_rng(1).normal(size=shape)
        self.inputs = cases.as_jax((variables, x))
        self.is_network = name in NETWORKS

    def loss(self, variables, x):
        """One number, of every output."""
        return jnp.square(self.apply(variables, x)).sum()

    @functools.cached_property
    def y(self):
        return jax.jit(self.apply)(*self.inputs)

    @functools.cached_property
    def gradients(self):
        return jax.jit(jax.grad(self.loss, (0, 1)))(*self.inputs)

    @functools.cached_property
    def direction(self):
        """Of variables and features."""
        rng = np.random.default_rng(3)
        # Arrays of no trace: whoever asks first may be in one.
        with jax.ensure_compile_time_eval():
            return jax.tree.map(
                lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), self.inputs
            )

    def along(self, t):
        """The loss, moved by t (2,) in the directions of variables and features."""
        moved = (
            jax.tree.map(lambda leaf, d, s=s: leaf + s * d, leaves, directions)
            for leaves, directions, s in zip(
                self.inputs, self.direction, t, strict=True
            )
        )
        return self.loss(*moved)

    @functools.cached_property
    def slopes(self):
        """The derivative of `along` at 0, of the gradients."""
        pairs = zip(self.gradients, self.direction, strict=True)
        return jnp.stack([inner(*pair) for pair in pairs])


def inner(a, b):
    """Of two trees."""
    return sum(jax.tree.leaves(jax.tree.map(lambda a, b: jnp.vdot(a, b), a, b)))


@functools.cache
def subject(name: str) -> Subject:
    """By its name in `SUBJECTS`; under x64."""
    return Subject(name)
