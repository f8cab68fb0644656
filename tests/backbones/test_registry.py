"""Networks by name: which there are, and what a wrong name or value is told."""

import re

import jax.numpy as jnp
import pytest
from support import networks

from prm_flax import PRM, create_model, list_models

RESNETS = ["resnet14", "resnet20", "resnet18", "resnet34"]
RESNETS += ["resnet50", "resnet101", "resnet152"]
NETWORKS = [*RESNETS, "mobilenet_v2", "mnasnet1_0"]

# Name, options -> the whole sentence or a part of it.
ERRORS = {
    "Unknown model 'resnet51'. Did you mean 'resnet50'?": ("resnet51", {}),
    "Unknown model 'prm_resnet5'. Did you mean 'prm_resnet50'?": ("prm_resnet5", {}),
    "Unknown model 'nothing'. Known: resnet14": ("nothing", {}),
    "Unknown option of resnet18 'batchnorm'. Did you mean 'batch_norm'?": (
        "resnet18",
        {"batchnorm": 2},
    ),
    "Unknown option of resnet18 'groups'": ("resnet18", {"groups": 8}),
    "Unknown option of prm_resnet18 'group'. Did you mean 'groups'?": (
        "prm_resnet18",
        {"group": 8},
    ),
    "Unknown option of mobilenet_v2 'stem'": ("mobilenet_v2", {"stem": "3x3"}),
    "Unknown option of resnet18 'depths'": ("resnet18", {"depths": (1,)}),
    "Unknown option of resnet18 'width'": ("resnet18", {"width": 8}),
    "Unknown option of resnet18 'slot'": ("resnet18", {"slot": "prm"}),
    "Unknown option of resnet18 'parent'": ("resnet18", {"parent": None}),
    "Unknown stem '3*3'. Did you mean '3x3'? Known: imagenet, 3x3, 3x3_stride2": (
        "resnet18",
        {"stem": "3*3"},
    ),
    "Unknown similarity 'cos'. Did you mean 'cosine'?": (
        "prm_resnet18",
        {"similarity": "cos"},
    ),
    "ddof must be 0": ("prm_resnet18", {"ddof": 3}),
    "groups must be a positive integer, got 0": ("prm_resnet18", {"groups": 0}),
    "num_classes must be a positive integer, got 0": ("resnet18", {"num_classes": 0}),
    "num_classes must be a positive integer, got True": (
        "resnet18",
        {"num_classes": True},
    ),
    "is taken over, a positive integer; got 'all'": (
        "resnet18",
        {"batch_norm": "all"},
    ),
    "a positive integer; got 0.": ("mobilenet_v2", {"batch_norm": 0}),
    "dropout must be in [0, 1), got 1": ("resnet18", {"dropout": 1}),
    "bn_momentum must be in [0, 1], got 1.1": ("resnet18", {"bn_momentum": 1.1}),
    "bn_epsilon must be positive, got 0": ("resnet18", {"bn_epsilon": 0}),
    "bn_epsilon must be positive, got nan": ("resnet18", {"bn_epsilon": float("nan")}),
}


def test_models():
    names = list_models()
    assert names[: len(NETWORKS)] == NETWORKS
    assert {f"prm_{name}" for name in NETWORKS} <= set(names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("message", ERRORS)
def test_errors(message):
    name, options = ERRORS[message]
    with pytest.raises(ValueError, match=re.escape(message)):
        create_model(name, **options)


def factory(channels, stage):
    return PRM(4)


def test_a_prefix_and_a_factory_exclude_each_other():
    message = "both fill the slot; use create_model('resnet18', recalibration=…)"
    with pytest.raises(ValueError, match=re.escape(message)):
        create_model("prm_resnet18", recalibration=factory)


@pytest.mark.parametrize(
    ("name", "block", "default"),
    [
        ("prm_resnet14", "layer1_0", 16),
        ("prm_resnet14", "layer3_0", 64),
        ("prm_resnet18", "layer4_0", 64),
        ("prm_mobilenet_v2", "features_1", 8),
        ("prm_mnasnet1_0", "layers_8_0", 8),
    ],
)
def test_default_groups(name, block, default):
    assert groups(create_model(name), block) == default


@pytest.mark.parametrize("asked", [8, 64, 128])
def test_a_stage_has_at_most_as_many_groups_as_channels(asked):
    """Figure 4 of the paper tries 128 heads on ResNet-18, which starts at 64."""
    model = create_model("prm_resnet18", groups=asked)
    assert groups(model, "layer1_0") == min(asked, 64)
    assert groups(model, "layer2_0") == asked


def groups(model, block):
    return networks.variable_shapes(model)[f"params/{block}/prm/alpha"][0]


def test_options_reach_prm():
    options = {"similarity": "l1", "ddof": 1, "position": False, "normalize": False}
    model = create_model("prm_resnet18", dtype=jnp.bfloat16, **options)
    prm = model.recalibration(64, 1)
    assert isinstance(prm, PRM)
    assert {name: getattr(prm, name) for name in options} == options
    assert (prm.dtype, prm.param_dtype) == (jnp.bfloat16, jnp.float32)


@pytest.mark.parametrize("name", ["prm_resnet18", "mobilenet_v2"])
def test_models_are_values(name):
    """Equal and hashable, as static arguments of jit must be."""
    one, two = (create_model(name, num_classes=3) for _ in range(2))
    assert one == two and hash(one) == hash(two)
    assert one != create_model(name, num_classes=4)
