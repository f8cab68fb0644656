"""The Linen and the NNX module: the same function, leaves and dtypes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from support import prm_cases as cases

from prm_flax import PRM, PRMMaps, PRMParams, recalibrate
from prm_flax import nnx as prm_nnx

GROUPS = 4
SHAPES = PRMParams((4,), (4,), (4,), (4,), (2,), ())
X = cases.image(0, cases.Shape(3, 5, GROUPS, 2), batch=(2,))
OPTIONS = [{}, {"ddof": 1}, {"position": False}, {"normalize": False}]


def linen_params(key=0, **options):
    return PRM(GROUPS, **options).init(jax.random.key(key), jnp.ones(X.shape))


def nnx_params(key=0, **options):
    prm = prm_nnx.PRM(GROUPS, **options, rngs=nnx.Rngs(key))
    return {"params": nnx.to_pure_dict(nnx.state(prm, nnx.Param))}


# Modules that run the definition; on a CPU "auto" takes another form of it.
PLAIN = {"kernel": "xla"}


def filled(params, **options):
    """An NNX PRM with the given parameters."""
    prm = prm_nnx.PRM(GROUPS, **options, rngs=nnx.Rngs(0))
    for name, leaf in params._asdict().items():
        getattr(prm, name).set_value(leaf)
    return prm


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("similarity", cases.SIMILARITIES)
def test_the_same_bits(similarity, options):
    options = options | {"similarity": similarity}
    x, params = cases.as_jax((X, cases.params(0, GROUPS)), jnp.float32)
    y, maps = recalibrate(x, params, return_maps=True, **options)

    variables = {"params": params._asdict()}
    prm = PRM(GROUPS, **options)
    linen_y, state = prm.apply(variables, x, mutable=["intermediates"])
    linen = linen_y, *state["intermediates"]["maps"]
    from_nnx = filled(params, **options)(x, return_maps=True)
    for other in (linen, from_nnx):
        jax.tree.map(np.testing.assert_array_equal, other, (y, maps))
    fast = prm.apply(variables, x)
    np.testing.assert_array_equal(filled(params, **options)(x), fast)
    plain = PRM(GROUPS, **options, **PLAIN).apply(variables, x)
    np.testing.assert_array_equal(filled(params, **options, **PLAIN)(x), plain)
    np.testing.assert_array_equal(plain, y)
    np.testing.assert_allclose(fast, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("new", [linen_params, nnx_params])
@pytest.mark.parametrize("param_dtype", [jnp.float32, jnp.bfloat16])
def test_leaves(new, param_dtype):
    tree = new(param_dtype=param_dtype)
    assert tree.keys() == {"params"}
    params = PRMParams(**tree["params"])
    assert PRMParams(*(leaf.shape for leaf in params)) == SHAPES
    assert {leaf.dtype for leaf in params} == {jnp.dtype(param_dtype)}
    for name, value in {"alpha": 0, "beta": 1, "lam": 0, "xi": 1, "d": 1}.items():
        np.testing.assert_array_equal(getattr(params, name), value)


@pytest.mark.parametrize("new", [linen_params, nnx_params])
def test_theta_is_uniform(new):
    thetas = np.stack([new(key)["params"]["theta"] for key in range(50)])
    assert 0 <= thetas.min() < 0.2 and 0.8 < thetas.max() < 1
    assert len(np.unique(thetas)) == thetas.size


@pytest.mark.parametrize("x_dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("dtype", [None, jnp.float32, jnp.bfloat16])
def test_dtype(dtype, x_dtype):
    x, params = jnp.asarray(X, x_dtype), cases.params(0, GROUPS)
    params = cases.as_jax(params, jnp.float32)
    want = recalibrate(x if dtype is None else x.astype(dtype), params)
    options = {"dtype": dtype, **PLAIN}
    linen = PRM(GROUPS, **options).apply({"params": params._asdict()}, x)
    for y in (linen, filled(params, **options)(x)):
        assert y.dtype == (dtype or x_dtype)
        np.testing.assert_array_equal(y, want)


@pytest.mark.parametrize("train", [False, True])
def test_train_changes_nothing(train):
    x, params = cases.as_jax((X, cases.params(0, GROUPS)), jnp.float32)
    linen = PRM(GROUPS).apply({"params": params._asdict()}, x, train=train)
    for y in (linen, filled(params)(x, train=train)):
        np.testing.assert_array_equal(y, filled(params)(x))


def test_maps_are_sown_only_on_demand():
    prm, x = PRM(GROUPS), jnp.ones(X.shape)
    variables = prm.init(jax.random.key(0), x)
    _, state = prm.apply(variables, x, mutable=["intermediates"])
    (maps,) = state["intermediates"]["maps"]
    assert isinstance(maps, PRMMaps)
    _, state = prm.apply(variables, x, mutable=["batch_stats"])
    assert not state


def test_maps_are_not_computed_otherwise():
    """Without the collection the program is the definition's, to the letter."""
    x, params = cases.as_jax((X, cases.params(0, GROUPS)), jnp.float32)
    plain = jax.make_jaxpr(lambda p, x: recalibrate(x, p))(params, x)
    prm = PRM(GROUPS, **PLAIN)
    linen = jax.make_jaxpr(lambda p, x: prm.apply({"params": p._asdict()}, x))
    assert str(linen(params, x)) == str(plain)
    with_maps = jax.make_jaxpr(lambda p, x: recalibrate(x, p, return_maps=True))
    assert len(with_maps(params, x).eqns) > len(plain.eqns)
