"""ResNets: names, stems, the slot, and the options that must not change numbers."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import networks

from prm_flax import create_model
from prm_flax.attention import CBAM
from prm_flax.backbones.slot import PRMFactory, SameModule

IMAGE = (16, 16, 3)


def test_names_of_a_basic_network():
    model = create_model("prm_resnet18")
    blocks = {f"layer{k}_{i}" for k in (1, 2, 3, 4) for i in (0, 1)}
    assert networks.children(model, "") == {"conv1", "bn1", "fc"} | blocks
    branch = {"conv1", "bn1", "conv2", "bn2", "prm"}
    assert networks.children(model, "layer1_0") == branch
    shortcut = {"downsample_0", "downsample_1"}
    assert networks.children(model, "layer2_0") == branch | shortcut


def test_names_of_a_bottleneck_network():
    model = create_model("prm_resnet50")
    branch = {"conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "prm"}
    shortcut = {"downsample_0", "downsample_1"}
    assert networks.children(model, "layer1_0") == branch | shortcut
    assert networks.children(model, "layer4_2") == branch


SK_LAYERS = {"bn_fc1", "conv_fc1", "conv_fc2"}


def test_sk_replaces_the_3x3_of_a_bottleneck():
    """Its layers are the block's."""
    branch = {"conv1", "bn1", "conv2", "bn2", "conv3", "bn3"}
    added = {"conv2g", "bn2g"} | SK_LAYERS
    model = create_model("sk_resnet50")
    assert networks.children(model, "layer2_1") == branch | added
    shapes = networks.variable_shapes(model)
    assert shapes["params/layer2_0/conv2g/kernel"] == (3, 3, 4, 128)
    assert shapes["params/layer2_0/conv_fc2/kernel"] == (1, 1, 8, 256)


def test_sk_replaces_the_first_3x3_of_a_basic_block():
    """No ReLU follows the second before the sum."""
    branch = {"conv1", "bn1", "conv2", "bn2"}
    added = {"conv1g", "bn1g"} | SK_LAYERS
    model = create_model("sk_resnet18")
    assert networks.children(model, "layer2_1") == branch | added


def test_shapes_of_leaves():
    shapes = networks.variable_shapes(create_model("prm_resnet50"))
    assert shapes["params/conv1/kernel"] == (7, 7, 3, 64)
    assert shapes["params/layer2_0/conv2/kernel"] == (3, 3, 128, 128)
    assert shapes["params/layer2_0/downsample_0/kernel"] == (1, 1, 256, 512)
    assert shapes["params/layer4_2/bn3/scale"] == (2048,)
    assert shapes["batch_stats/layer4_2/bn3/var"] == (2048,)
    assert shapes["params/layer4_2/prm/theta"] == (2,)
    assert shapes["params/fc/kernel"] == (2048, 1000)


@pytest.mark.parametrize(
    ("stem", "kernel", "strides"),
    [
        ("imagenet", 7, (4, 8, 16)),
        ("3x3", 3, (1, 2, 4)),
        ("3x3_stride2", 3, (2, 4, 8)),
    ],
)
def test_stems(stem, kernel, strides):
    model = create_model("resnet14", stem=stem, features_only=True)
    assert tuple(stride for _, _, stride in model.feature_info) == strides
    variables, features = networks.shapes(model)
    assert variables["params"]["conv1"]["kernel"].shape == (kernel, kernel, 3, 16)
    sizes = [feature.shape[1] for feature in features.values()]
    assert sizes == [64 // stride for stride in strides]


@functools.cache
def initial(**options):
    model = networks.tiny(width=32, **options)
    init = jax.jit(lambda key: model.init(key, jnp.zeros((1, *IMAGE))))
    return init(jax.random.key(0))["params"]


def test_initial_values():
    params = initial(zero_init=False)
    for block, planes in (("layer1_0", 32), ("layer2_0", 64)):
        kernel = params[block]["conv2"]["kernel"]
        std = np.sqrt(2 / (9 * planes))  # kaiming normal, fan out
        np.testing.assert_allclose(kernel.std(), std, rtol=0.05)
    bound = 1 / np.sqrt(64)
    fc = np.concatenate([np.ravel(leaf) for leaf in params["fc"].values()])
    assert 0.95 * bound < np.abs(fc).max() <= bound


@pytest.mark.parametrize("zero_init", [False, True])
def test_zero_init(zero_init):
    params = initial(zero_init=zero_init)
    for block in ("layer1_0", "layer2_0"):
        np.testing.assert_array_equal(params[block]["bn1"]["scale"], 1)
        np.testing.assert_array_equal(params[block]["bn2"]["scale"], 1 - zero_init)
    np.testing.assert_array_equal(params["layer2_0"]["downsample_1"]["scale"], 1)


def gradients(**options):
    """Value, statistics and gradients of one training call."""
    model = networks.tiny(**options)
    variables = networks.random_variables(model, IMAGE, jnp.float64)
    return networks.training_gradients(model, variables, IMAGE)


@pytest.mark.parametrize(
    "options",
    [
        {"recalibration": PRMFactory(4), "slot": "prm"},
        {"recalibration": SameModule(CBAM()), "selective": True, "depths": (1,)},
    ],
    ids=["prm", "cbam and sk"],
)
def test_remat_changes_no_number(options, x64):
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12),
        gradients(remat=True, **options),
        gradients(**options),
    )


@pytest.mark.parametrize("remat", [False, True])
def test_remat_recomputes(remat):
    model = create_model("resnet14", remat=remat)
    variables, _ = networks.shapes(model, IMAGE)
    x = jax.ShapeDtypeStruct((1, *IMAGE), jnp.float32)
    program = jax.make_jaxpr(model.apply)(variables, x)
    blocks = [
        e for e in program.eqns if e.primitive.name in ("remat", "remat2", "checkpoint")
    ]
    assert len(blocks) == (6 if remat else 0)


def test_dropout():
    model = networks.tiny(dropout=0.5)
    variables = networks.random_variables(model, IMAGE)
    x = jnp.ones((2, *IMAGE))

    @functools.partial(jax.jit, static_argnames="train")
    def run(key, train):
        return model.apply(
            variables, x, train, rngs={"dropout": key}, mutable=["batch_stats"]
        )[0]

    one, two = jax.random.split(jax.random.key(0))
    assert not np.array_equal(run(one, True), run(two, True))
    np.testing.assert_array_equal(run(one, False), run(two, False))


def recorded(calls):
    return functools.partial(networks.Recorder, calls.append)


def test_recalibration_slot():
    calls = []
    model = create_model("resnet18", recalibration=recorded(calls))
    variables, _ = networks.shapes(model, train=True)
    planes = [64, 64, 128, 128, 256, 256, 512, 512]
    stages = [1, 1, 2, 2, 3, 3, 4, 4]
    assert calls == [(c, k, c, True) for c, k in zip(planes, stages, strict=True)]
    blocks = [name for name in variables["params"] if name.startswith("layer")]
    assert all("recalibration" in variables["params"][name] for name in blocks)


def test_the_slot_is_after_the_last_norm_and_before_the_sum():
    """Halving the branch there is halving the last norm's scale and bias."""
    plain, halving = networks.tiny(), networks.tiny(recalibration=recorded([]))
    x = jnp.ones((1, *IMAGE))
    variables = networks.random_variables(plain, IMAGE)
    halved, with_gain = (jax.tree.map(jnp.copy, variables) for _ in range(2))
    for block in ("layer1_0", "layer2_0"):
        norm = halved["params"][block]["bn2"]
        norm |= {"scale": norm["scale"] / 2, "bias": norm["bias"] / 2}
        gain = {"recalibration": {"gain": jnp.asarray(0.5)}}
        with_gain["params"][block] |= gain
    want = plain.apply(halved, x)
    np.testing.assert_allclose(halving.apply(with_gain, x), want, rtol=1e-5)
    assert not np.allclose(plain.apply(variables, x), want, rtol=1e-2)


def test_a_factory_that_makes_no_module():
    model = create_model("resnet14", recalibration=lambda channels, stage: abs)
    with pytest.raises(TypeError, match=r"must return a Linen .*got builtin_f"):
        networks.shapes(model, IMAGE)


def test_a_module_that_changes_the_shape():
    class Narrow(nn.Module):
        def __call__(self, x, train=False):
            return x[..., :1]

    model = create_model("resnet14", recalibration=lambda channels, stage: Narrow())
    with pytest.raises(ValueError, match=r"keep the shape: .*16\) became .*1\)"):
        networks.shapes(model, IMAGE)
