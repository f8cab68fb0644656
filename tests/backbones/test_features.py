"""Every network says what its stages are, and gives them."""

import jax
import jax.numpy as jnp
import pytest
from support import networks

from prm_flax import create_model, list_models

INFO = {
    "resnet14": ((16, 1), (32, 2), (64, 4)),
    "resnet20": ((16, 1), (32, 2), (64, 4)),
    "resnet18": ((64, 4), (128, 8), (256, 16), (512, 32)),
    "resnet34": ((64, 4), (128, 8), (256, 16), (512, 32)),
    "resnet50": ((256, 4), (512, 8), (1024, 16), (2048, 32)),
    "resnet101": ((256, 4), (512, 8), (1024, 16), (2048, 32)),
    "resnet152": ((256, 4), (512, 8), (1024, 16), (2048, 32)),
    "mobilenet_v2": (
        *((16, 2), (24, 4), (32, 8), (64, 16), (96, 16), (160, 32), (320, 32)),
    ),
    "mnasnet1_0": ((24, 4), (40, 8), (80, 16), (96, 16), (192, 32), (320, 32)),
}


@pytest.mark.parametrize("name", list_models())
def test_feature_info(name):
    network = name if name in INFO else name.partition("_")[2]
    model = create_model(name)
    want = tuple((f"stage{k}", *row) for k, row in enumerate(INFO[network], 1))
    assert model.feature_info == want


@pytest.mark.parametrize("name", INFO)
def test_features(name):
    """On an image whose sides are no multiple of the strides."""
    model = create_model(name, features_only=True)
    variables, features = networks.shapes(model, image=(96, 70, 3))
    assert list(features) == [stage for stage, _, _ in model.feature_info]
    for stage, channels, stride in model.feature_info:
        size = (-(-96 // stride), -(-70 // stride))
        assert features[stage].shape == (2, *size, channels)
    assert not {"fc", "classifier_1"} & variables["params"].keys()


@pytest.mark.parametrize("name", ["prm_resnet14", "prm_mnasnet1_0"])
def test_low_precision_features(name):
    model = create_model(name, features_only=True, dtype=jnp.bfloat16)
    variables, features = networks.shapes(model)
    assert {f.dtype for f in features.values()} == {jnp.dtype("bfloat16")}
    for collection in ("params", "batch_stats"):
        dtypes = {leaf.dtype for leaf in jax.tree.leaves(variables[collection])}
        assert dtypes == {jnp.dtype("float32")}
