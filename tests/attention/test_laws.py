"""What the modules' formulas say, tried on many inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import attention_cases as cases
from support.attention_cases import MODULES, features, run

from prm_flax import PRMParams, recalibrate
from prm_flax.attention import GE, SGE, SK
from prm_flax.layers.basic import Layers, ReLU

pytestmark = pytest.mark.usefixtures("x64")
seeds = st.integers(0, 2**32 - 1)
near = {"rtol": 1e-10, "atol": 1e-11}


@pytest.mark.parametrize("name", ["se", "ge", "gc", "sge"])
@given(seeds)
def test_positions_are_interchangeable(name, seed):
    """These see the map as a set of vectors."""
    x = features(seed)
    order = np.random.default_rng(seed).permutation(20)

    def permuted(a):
        return a.reshape(2, 20, -1)[:, order].reshape(a.shape)

    y = run(MODULES[name], permuted(x))
    np.testing.assert_allclose(y, permuted(run(MODULES[name], x)), **near)


@pytest.mark.parametrize("name", ["se", "ge", "ge, extent 2", "cbam", "sge"])
@given(seeds)
def test_gates_are_between_0_and_1(name, seed):
    x = features(seed)
    gate = run(MODULES[name], x, seed) / x
    assert (gate > 0).all() and (gate < 1).all()


@given(seeds)
def test_se_gates_channels(seed):
    x = features(seed)
    gate = run(MODULES["se"], x) / x
    np.testing.assert_allclose(gate, gate[:, :1, :1] + 0 * x, **near)


@given(seeds)
def test_gc_adds_the_same_everywhere(seed):
    x = features(seed)
    added = run(MODULES["gc"], x) - x
    np.testing.assert_allclose(added, added[:, :1, :1] + 0 * x, **near)
    assert np.abs(added).max() > 1e-3


@given(seeds)
def test_sge_is_prm_without_the_query_point(seed):
    x = features(seed)
    sge = cases.variables(MODULES["sge"], seed)["params"]
    zero, one = jnp.zeros(4), jnp.ones(4)
    params = PRMParams(zero, one, sge["lam"], sge["xi"], jnp.ones(2), jnp.ones(()))
    prm = jax.jit(lambda x: recalibrate(x, params, ddof=1))
    np.testing.assert_allclose(run(MODULES["sge"], x, seed), prm(x), **near)


def gathered(x, extent):
    """GE's context of one channel (h, w), by loops."""
    h, w = x.shape
    middles = [(i, j) for i in range(0, h, extent) for j in range(0, w, extent)]
    small = np.zeros((-(-h // extent), -(-w // extent)))
    for i, j in middles:
        rows = slice(max(i - extent + 1, 0), i + extent)
        columns = slice(max(j - extent + 1, 0), j + extent)
        small[i // extent, j // extent] = x[rows, columns].mean()
    enlarged = np.zeros((h, w))
    for i, j in np.ndindex(h, w):
        enlarged[i, j] = small[i * len(small) // h, j * len(small[0]) // w]
    return enlarged


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (4, 5), (9, 8)])
@pytest.mark.parametrize("extent", [1, 2, 3, 4, 7])
def test_ge_of_any_extent(extent, size):
    x = features(0, 1, *size)
    context = np.stack([gathered(x[0, ..., c], extent) for c in range(8)], axis=-1)
    want = x[0] / (1 + np.exp(-context))
    np.testing.assert_allclose(GE(extent).apply({}, x)[0], want, **near)


@pytest.mark.parametrize("extent", [5, 6, 9])
def test_an_extent_of_the_map_or_more_is_all_of_it(extent):
    x = features()
    np.testing.assert_allclose(run(GE(extent), x), run(GE(), x), **near)


@pytest.mark.parametrize("stride", [1, 2])
def test_sk_of_equal_branches_is_their_convolution(stride):
    """The two shares of every channel sum to one."""
    module, x = SK(8, stride, groups=1, reduction=2), cases.as_jax(features())
    tree = cases.variables(module)
    for collection in tree.values():
        for layer in ("conv2", "bn2"):
            if layer in collection:
                collection[f"{layer}g"] = collection[layer]
    layers = Layers(jnp.float64, jnp.float32, "global", 0.9, 1e-5)
    conv, norm = layers.conv(8, 3, "conv", stride), layers.norm("norm")
    plain = conv.apply({"params": tree["params"]["conv2"]}, x)
    plain = norm.apply({k: tree[k]["bn2"] for k in ("params", "batch_stats")}, plain)
    np.testing.assert_allclose(module.apply(tree, x), ReLU()(plain), **near)


def test_sge_of_a_single_position():
    """σ = 0: only the shift is left."""
    x, module = features(0, 2, 1, 1), SGE(4)
    tree = cases.variables(module)
    gate = np.repeat(jax.nn.sigmoid(tree["params"]["xi"]), 2)
    np.testing.assert_allclose(module.apply(tree, x), x * gate, **near)
