"""PRM against the official code's numbers: values, gradients, intermediate maps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from support import golden

from prm_flax import PRM, recalibrate
from prm_flax import nnx as prm_nnx

FILES = golden.names("prm_*")
# Where eager and compiled arithmetic could part: ties and constants; one ordinary.
DELICATE = [n for n in FILES if n.endswith(("_ties", "_zeros", "_constant", "_w6_g8"))]
SIMILARITIES = {"dotproduct": "dot", "l1norm": "l1", "cosine": "cosine"}


def functional(params, x, **options):
    return recalibrate(x, params, return_maps=True, **options)


def without_maps(params, x, **options):
    return recalibrate(x, params, **options), None


def linen(params, x, *, groups, **options):
    variables = {"params": params._asdict()}
    prm = PRM(groups, **options)
    y, state = prm.apply(variables, x, mutable=["intermediates"])
    return y, *state["intermediates"]["maps"]


def from_nnx(params, x, *, groups, **options):
    prm = prm_nnx.PRM(groups, **options, rngs=nnx.Rngs(0))
    for name, leaf in params._asdict().items():
        getattr(prm, name).set_value(leaf)
    return prm(x, return_maps=True)


def unwatched(params, x, *, groups, **options):
    """What trains: on a CPU another form than the definition."""
    return PRM(groups, **options).apply({"params": params._asdict()}, x), None


@functools.cache
def program(form, wrap, groups, similarity):
    """(params, x, r) -> y, the gradients of sum(y·r) in x and params; and the maps."""
    prm = functools.partial(form, groups=groups, similarity=similarity, ddof=1)

    @wrap
    def run(params, x, r):
        y, pull, maps = jax.vjp(prm, params, x, has_aux=True)
        grad_params, grad_x = pull(r)
        return (y, grad_x, grad_params), maps

    return run


def computed(file, form, dtype, wrap=jax.jit):
    run = program(form, wrap, file.meta["groups"], SIMILARITIES[file.meta["mode"]])
    x, r = (golden.to_nhwc(file.arrays[name]) for name in ("x", "r"))
    inputs = golden.prm_params(file.under("param")), x, r
    return run(*jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), inputs))


def eagerly(function):
    return function


def expected(file):
    y, grad_x = (golden.to_nhwc(file.arrays[name]) for name in ("y", "grad_x"))
    return y, grad_x, golden.prm_params(file.under("grad"))


def assert_near(got, want, **bound):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **bound), got, want)


def assert_same_maps(maps, mid):
    np.testing.assert_array_equal(maps.query, mid["query_rc"])
    ours = {
        "pos_enc": maps.position,
        "sim_query": maps.sim_query,
        "sim_gap": maps.sim_context,
        "S": maps.scores,
        "gate": maps.gate,
    }
    want = {name: golden.to_nhwc(mid[name]) for name in ours}
    assert_near(ours, want, rtol=1e-6, atol=1e-6)  # stored as float32


@pytest.mark.parametrize("name", FILES)
def test_float64(name, x64):
    file = golden.load(name)
    got, maps = computed(file, functional, jnp.float64)
    assert_near(got, expected(file), rtol=0, atol=1e-10)
    assert_same_maps(maps, file.under("mid"))


@pytest.mark.parametrize("form", [linen, from_nnx])
@pytest.mark.parametrize("name", DELICATE)
def test_modules_float64(name, form, x64):
    file = golden.load(name)
    got, maps = computed(file, form, jnp.float64)
    assert_near(got, expected(file), rtol=0, atol=1e-10)
    assert_same_maps(maps, file.under("mid"))


@pytest.mark.parametrize("name", FILES)
def test_float64_unwatched(name, x64):
    file = golden.load(name)
    got, _ = computed(file, unwatched, jnp.float64)
    assert_near(got, expected(file), rtol=0, atol=1e-10)


@pytest.mark.parametrize("form", [without_maps, unwatched])
@pytest.mark.parametrize("name", DELICATE)
def test_float64_eagerly(name, form, x64):
    file = golden.load(name)
    got, _ = computed(file, form, jnp.float64, wrap=eagerly)
    assert_near(got, expected(file), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "form", [unwatched, pytest.param(without_maps, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", FILES)
def test_float32(name, form):
    file = golden.load(name)
    (y, *grads), _ = computed(file, form, jnp.float32)
    want_y, *want_grads = expected(file)
    assert_near(y, want_y, rtol=2e-5, atol=2e-5)
    loose = 1e-4 if name.endswith("_constant") else 2e-5
    assert_near(grads, want_grads, rtol=loose, atol=loose)
