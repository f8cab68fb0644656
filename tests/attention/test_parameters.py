"""Leaves: their names, shapes, dtypes, and where they start."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from support import attention_cases as cases
from support import networks

from prm_flax.attention import CBAM, GC, GE, SE, SGE, SK

X = cases.as_jax(cases.features(), jnp.float32)
LEAVES = {
    SE(): {
        "params/fc_0/kernel": (64, 4),
        "params/fc_0/bias": (4,),
        "params/fc_2/kernel": (4, 64),
        "params/fc_2/bias": (64,),
    },
    GE(): {},
    GE(4): {},
    CBAM(): {
        "params/ChannelGate/mlp_1/kernel": (64, 4),
        "params/ChannelGate/mlp_1/bias": (4,),
        "params/ChannelGate/mlp_3/kernel": (4, 64),
        "params/ChannelGate/mlp_3/bias": (64,),
        "params/SpatialGate/spatial/conv/kernel": (7, 7, 2, 1),
        "params/SpatialGate/spatial/bn/scale": (1,),
        "params/SpatialGate/spatial/bn/bias": (1,),
        "batch_stats/SpatialGate/spatial/bn/mean": (1,),
        "batch_stats/SpatialGate/spatial/bn/var": (1,),
    },
    GC(): {
        "params/conv_mask/kernel": (1, 1, 64, 1),
        "params/conv_mask/bias": (1,),
        "params/channel_add_conv_0/kernel": (1, 1, 64, 4),
        "params/channel_add_conv_0/bias": (4,),
        "params/channel_add_conv_1/scale": (1, 1, 4),
        "params/channel_add_conv_1/bias": (1, 1, 4),
        "params/channel_add_conv_3/kernel": (1, 1, 4, 64),
        "params/channel_add_conv_3/bias": (64,),
    },
    SGE(16): {"params/lam": (16,), "params/xi": (16,)},
    SK(64): {
        "params/conv2/kernel": (3, 3, 64, 64),
        "params/conv2g/kernel": (3, 3, 2, 64),
        "params/conv_fc1/kernel": (1, 1, 64, 4),
        "params/conv_fc2/kernel": (1, 1, 4, 128),
        **{
            f"{path}": (4 if layer == "bn_fc1" else 64,)
            for layer in ("bn2", "bn2g", "bn_fc1")
            for path in (
                f"params/{layer}/scale",
                f"params/{layer}/bias",
                f"batch_stats/{layer}/mean",
                f"batch_stats/{layer}/var",
            )
        },
    },
}


def leaves(module, channels=64):
    shapes, _ = networks.shapes(module, (4, 4, channels))
    return flatten_dict(shapes, sep="/")


@pytest.mark.parametrize("module", LEAVES, ids=lambda m: type(m).__name__)
def test_leaves(module):
    assert {name: leaf.shape for name, leaf in leaves(module).items()} == LEAVES[module]


# The narrow layer of few channels.
NARROW = {SE(): "fc_0", CBAM(): "ChannelGate/mlp_1", SK(8, groups=8): "conv_fc1"}


@pytest.mark.parametrize("module", NARROW, ids=lambda m: type(m).__name__)
def test_a_reduction_leaves_one_number(module):
    assert leaves(module, 8)[f"params/{NARROW[module]}/kernel"].shape[-1] == 1


def test_a_reduction_leaves_gc_four_planes():
    """The layer norm of one is 0."""
    assert leaves(GC(), 8)["params/channel_add_conv_0/kernel"].shape[-1] == 4


@pytest.mark.parametrize("name", cases.MODULES)
@pytest.mark.parametrize("dtype", [None, jnp.float32, jnp.bfloat16])
def test_dtype(name, dtype):
    """The result has the input's dtype, or the module's."""
    module = cases.MODULES[name].clone(dtype=dtype)
    for own in (jnp.float32, jnp.float16):
        _, y = networks.shapes(module, (4, 4, 8), dtype=own)
        assert y.dtype == (dtype or own)


@pytest.mark.parametrize("name", [name for name in cases.MODULES if name[:2] != "ge"])
def test_dtype_of_the_parameters(name):
    """Statistics stay float32."""
    module = cases.MODULES[name].clone(param_dtype=jnp.bfloat16)
    with jax.numpy_dtype_promotion("standard"):  # the batch norm needs it
        variables, y = networks.shapes(module, (4, 4, 8))
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(variables["params"])}
    assert dtypes == {jnp.dtype("bfloat16")}
    statistics = jax.tree.leaves(variables.get("batch_stats", {}))
    assert {leaf.dtype for leaf in statistics} <= {jnp.dtype("float32")}
    assert y.dtype == jnp.float32


def test_sge_starts_at_one_gate():
    y = SGE(4).apply(cases.initial(SGE(4)), X)
    np.testing.assert_allclose(y, X * jax.nn.sigmoid(1.0), rtol=1e-6)


def test_gc_starts_as_the_identity():
    np.testing.assert_array_equal(GC(2).apply(cases.initial(GC(2)), X), X)


def test_cbam_starts_with_half_a_gate_at_every_position():
    tree = cases.initial(CBAM(2))
    y = CBAM(2).apply(tree, X)
    np.testing.assert_allclose(y / X, (y / X)[:, :1, :1] + 0 * X, rtol=1e-5)
    open_ = jax.tree.map(jnp.copy, tree)
    open_["params"]["SpatialGate"]["spatial"]["bn"]["bias"] += 100
    np.testing.assert_allclose(2 * y, CBAM(2).apply(open_, X), rtol=1e-6)


@pytest.mark.parametrize("module", [SE(2), CBAM(2)], ids=lambda m: type(m).__name__)
def test_dense_layers_start_uniform(module):
    """Within ±1/√inputs, kernel and bias, as PyTorch's do."""
    x = jnp.zeros((1, 2, 2, 256))
    params = jax.jit(module.init)(jax.random.key(0), x)["params"]
    gate = params.get("ChannelGate", params)
    for layer, inputs in zip(sorted(gate), (256, 128), strict=True):
        for leaf in gate[layer].values():
            assert 0.95 < np.abs(leaf).max() * np.sqrt(inputs) <= 1
