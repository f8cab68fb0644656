"""MobileNetV2 and MnasNet-1.0: names, the slot in every block, initial values."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import networks

from prm_flax import create_model
from prm_flax.layers.basic import ReLU

IMAGE = (32, 32, 3)
# Channels and stages of the blocks' outputs, from the papers' tables.
MOBILENET = [16] + 2 * [24] + 3 * [32] + 4 * [64] + 3 * [96] + 3 * [160] + [320]
MOBILENET_STAGES = [1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 6, 6, 6, 7]
MNASNET = 3 * [24] + 3 * [40] + 3 * [80] + 2 * [96] + 4 * [192] + [320]
MNASNET_STAGES = [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 5, 5, 5, 5, 6]


def test_names_of_mobilenet_v2():
    model = create_model("prm_mobilenet_v2")
    blocks = {f"features_{k}" for k in range(1, 18)}
    ends = {f"features_{k}_{i}" for k in (0, 18) for i in (0, 1)}
    assert networks.children(model, "") == {"classifier_1"} | blocks | ends
    first = {"conv_0_0", "conv_0_1", "conv_1", "conv_2", "prm"}
    assert networks.children(model, "features_1") == first
    usual = {"conv_0_0", "conv_0_1", "conv_1_0", "conv_1_1", "conv_2", "conv_3", "prm"}
    for k in range(2, 18):
        assert networks.children(model, f"features_{k}") == usual


def test_names_of_mnasnet():
    model = create_model("prm_mnasnet1_0")
    repeats = dict(zip(range(8, 14), (3, 3, 3, 2, 4, 1), strict=True))
    blocks = {f"layers_{k}_{i}" for k, n in repeats.items() for i in range(n)}
    ends = {f"layers_{k}" for k in (0, 1, 3, 4, 6, 7, 14, 15)}
    assert networks.children(model, "") == {"classifier_1"} | blocks | ends
    usual = {f"layers_{k}" for k in (0, 1, 3, 4, 6, 7)} | {"prm"}
    for block in blocks:
        assert networks.children(model, block) == usual


def test_shapes_of_leaves():
    shapes = networks.variable_shapes(create_model("prm_mnasnet1_0"))
    assert shapes["params/layers_9_0/layers_3/kernel"] == (5, 5, 1, 72)
    assert shapes["params/layers_12_0/layers_6/kernel"] == (1, 1, 576, 192)
    assert shapes["params/layers_12_0/prm/alpha"] == (8,)
    shapes = networks.variable_shapes(create_model("prm_mobilenet_v2"))
    assert shapes["params/features_17/conv_2/kernel"] == (1, 1, 960, 320)
    assert shapes["params/classifier_1/kernel"] == (1280, 1000)


@pytest.mark.parametrize(
    ("name", "channels", "stages"),
    [
        ("mobilenet_v2", MOBILENET, MOBILENET_STAGES),
        ("mnasnet1_0", MNASNET, MNASNET_STAGES),
    ],
)
def test_recalibration_slot(name, channels, stages):
    calls = []
    model = create_model(
        name, recalibration=functools.partial(networks.Recorder, calls.append)
    )
    variables, _ = networks.shapes(model, train=True)
    assert calls == [(c, k, c, True) for c, k in zip(channels, stages, strict=True)]
    slots = [
        block for block in variables["params"].values() if "recalibration" in block
    ]
    assert len(slots) == len(channels)


@functools.cache
def short(**options):
    model = networks.ShortMobileNet(num_classes=3, dropout=0.0, **options)
    return model, networks.random_variables(model, IMAGE, jnp.float64)


def gradients(**options):
    model, variables = short(**options)
    return networks.training_gradients(model, variables, IMAGE)


def test_remat_changes_no_number(x64):
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12),
        gradients(remat=True),
        gradients(),
    )


def test_initial_values_of_the_classifier():
    """N(0, 0.01): the official MnasNet program's N(0.01, 1) is a slip."""
    model = networks.ShortMobileNet(num_classes=50, zero_init=True)
    params = jax.jit(lambda: model.init(jax.random.key(0), jnp.zeros((1, *IMAGE))))()
    params = params["params"]
    kernel = params["classifier_1"]["kernel"]
    np.testing.assert_allclose(kernel.std(), 0.01, rtol=0.02)
    assert abs(kernel.mean()) < 1e-4
    np.testing.assert_array_equal(params["classifier_1"]["bias"], 0)
    np.testing.assert_array_equal(params["features_1"]["conv_2"]["scale"], 0)
    np.testing.assert_array_equal(params["features_2"]["conv_3"]["scale"], 0)
    np.testing.assert_array_equal(params["features_2"]["conv_1_1"]["scale"], 1)


def test_momentum_of_the_running_statistics():
    assert create_model("mnasnet1_0").bn_momentum == 0.9997
    assert create_model("mobilenet_v2").bn_momentum == 0.9


def test_dropout_is_on_by_default():
    assert create_model("mobilenet_v2").dropout == 0.2
    model = networks.ShortMobileNet(num_classes=3)
    variables = networks.random_variables(model, IMAGE)
    x = jnp.ones((1, *IMAGE))
    with pytest.raises(Exception, match="dropout"):
        jax.eval_shape(
            lambda: model.apply(variables, x, train=True, mutable=["batch_stats"])
        )


def test_relu6_is_flat_at_both_ends():
    x = jnp.asarray([-1.0, 0.0, 3.0, 6.0, 7.0])
    np.testing.assert_array_equal(ReLU(6.0)(x), [0, 0, 3, 6, 6])
    slope = jax.grad(lambda x: ReLU(6.0)(x).sum())(x)
    np.testing.assert_array_equal(slope, [0, 0, 1, 0, 0])
