"""Flax's own transformations of modules: Linen's lifted ones, and those of NNX."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from support import prm_cases as cases

from prm_flax import PRM, recalibrate
from prm_flax.attention import CBAM, GC, GE, SE, SGE, SK
from prm_flax.nnx import PRM as NNXPRM

pytestmark = pytest.mark.usefixtures("x64")
GROUPS, DEPTH = 2, 3
SHAPE = (2, 4, 6, 8)
TYPES = {"param_dtype": jnp.float64}
LINEN = {
    "prm": PRM(GROUPS, **TYPES),
    "sge": SGE(GROUPS, **TYPES),
    "se": SE(4, **TYPES),
    "gc": GC(4, **TYPES),
    "cbam": CBAM(4, **TYPES),
    "ge": GE(),
    "sk": SK(8, groups=GROUPS, **TYPES),
}


def features(*batch):
    return jnp.asarray(np.random.default_rng(0).normal(size=(*batch, *SHAPE)))


def copies(module):
    """A class whose calls are the module's, as Flax's transformations take one."""
    names = [f for f in module.__dataclass_fields__ if f not in ("parent", "name")]
    return type(module), {name: getattr(module, name) for name in names}


def stacked(module):
    """Variables of DEPTH modules, away from their start."""
    variables = jax.eval_shape(module.init, jax.random.key(0), features())
    rng = np.random.default_rng(1)
    return jax.tree.map(
        lambda leaf: jnp.asarray(rng.uniform(0.4, 1.2, (DEPTH, *leaf.shape))), variables
    )


def unstacked(variables, k):
    return jax.tree.map(lambda leaf: leaf[k], variables)


def compared(run, want, *inputs):
    """The value, and the gradients of its squares."""

    def both(function):
        def loss(*inputs):
            return jnp.square(function(*inputs)).sum()

        return jax.jit(lambda *a: (function(*a), jax.grad(loss, (0, 1))(*a)))(*inputs)

    jax.tree.map(cases.near, both(run), both(want))


@pytest.mark.parametrize("name", LINEN)
def test_scan_over_layers(name):
    kind, fields = copies(LINEN[name])

    class Layers(nn.Module):
        @nn.compact
        def __call__(self, x):
            layers = nn.scan(
                lambda layer, x, _: (layer(x), None),
                variable_axes={"params": 0, "batch_stats": 0},
                split_rngs={"params": True},
                length=DEPTH,
            )
            return layers(kind(**fields, name="layer"), x, None)[0]

    def scanned(variables, x):
        nested = {group: {"layer": tree} for group, tree in variables.items()}
        return Layers().apply(nested, x)

    def unrolled(variables, x):
        for k in range(DEPTH):
            x = LINEN[name].apply(unstacked(variables, k), x)
        return x

    compared(scanned, unrolled, stacked(LINEN[name]), features())


@pytest.mark.parametrize("name", LINEN)
def test_vmap_over_modules(name):
    kind, fields = copies(LINEN[name])
    lifted = nn.vmap(
        kind,
        variable_axes={"params": 0, "batch_stats": 0},
        split_rngs={"params": True},
        axis_size=DEPTH,
    )(**fields)

    def one_by_one(variables, x):
        each = (unstacked(variables, k) for k in range(DEPTH))
        return jnp.stack([LINEN[name].apply(v, x[k]) for k, v in enumerate(each)])

    compared(lifted.apply, one_by_one, stacked(LINEN[name]), features(DEPTH))


@pytest.mark.parametrize("lift", [nn.remat, nn.jit], ids=["remat", "jit"])
@pytest.mark.parametrize("name", LINEN)
def test_remat_and_jit(name, lift):
    kind, fields = copies(LINEN[name])
    variables = unstacked(stacked(LINEN[name]), 0)
    compared(lift(kind)(**fields).apply, LINEN[name].apply, variables, features())


def params_of(seed):
    return cases.as_jax(cases.params(seed, GROUPS))


def prm_of(params):
    prm = NNXPRM(GROUPS, rngs=nnx.Rngs(0))
    for name, leaf in params._asdict().items():
        getattr(prm, name).set_value(leaf)
    return prm


def values(state):
    return {name: leaf[...] for name, leaf in nnx.to_flat_state(state)}


def test_nnx_jit_and_grad():
    x, params = features(), params_of(0)

    @nnx.jit
    def run(prm, x):
        return nnx.value_and_grad(lambda prm: jnp.square(prm(x)).sum())(prm)

    value, gradients = run(prm_of(params), x)
    want = jax.value_and_grad(lambda p: jnp.square(recalibrate(x, p)).sum())(params)
    cases.near(value, want[0])
    for (name,), gradient in values(gradients).items():
        cases.near(gradient, getattr(want[1], name))


def test_nnx_split_and_merge():
    prm, x = prm_of(params_of(0)), features()
    graph, state = nnx.split(prm)
    got = jax.jit(lambda state, x: nnx.merge(graph, state)(x))(state, x)
    cases.near(got, prm(x))
    cases.near(nnx.clone(prm)(x), prm(x))


def stack_of_prms():
    @nnx.vmap(in_axes=0, out_axes=0)
    def make(key):
        return NNXPRM(GROUPS, rngs=nnx.Rngs(key))

    prms = make(jax.random.split(jax.random.key(0), DEPTH))
    each = [params_of(k) for k in range(DEPTH)]
    for name, *leaves in zip(each[0]._fields, *each, strict=True):
        getattr(prms, name).set_value(jnp.stack(leaves))
    return prms, each


def test_nnx_vmap():
    (prms, each), x = stack_of_prms(), features(DEPTH)
    got = nnx.jit(nnx.vmap(lambda prm, x: prm(x)))(prms, x)
    cases.near(got, jnp.stack([recalibrate(x[k], p) for k, p in enumerate(each)]))


def test_nnx_scan():
    (prms, each), x = stack_of_prms(), features()

    @nnx.jit
    @nnx.scan(in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
    def run(x, prm):
        return prm(x)

    want = x
    for params in each:
        want = recalibrate(want, params)
    cases.near(run(x, prms), want)
