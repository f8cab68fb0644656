"""Networks by name: which there are, and what a wrong name or value is told."""

import re

import flax.linen as nn
import jax.numpy as jnp
import pytest
from support import networks

from prm_flax import PRM, create_model, list_models
from prm_flax.attention import CBAM, SGE, SK

RESNETS = ["resnet14", "resnet20", "resnet18", "resnet34"]
RESNETS += ["resnet50", "resnet101", "resnet152"]
MOBILE = ["mobilenet_v2", "mnasnet1_0"]
NETWORKS = [*RESNETS, *MOBILE]

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
    "groups must be a positive integer, got -1": ("sge_resnet18", {"groups": -1}),
    "Unknown option of se_resnet18 'groups'": ("se_resnet18", {"groups": 8}),
    "Unknown option of resnet18 'selective'": ("resnet18", {"selective": True}),
    "sk takes the place of a dense 3×3 convolution in every block, and those of "
    "mobilenet_v2 are depthwise. Networks that have dense ones: resnet14, resnet20, "
    "resnet18, resnet34, resnet50, resnet101, resnet152.": ("sk_mobilenet_v2", {}),
    "and those of mnasnet1_0 are depthwise": ("sk_mnasnet1_0", {}),
    "Unknown model 'sk_mobilenet'. Did you mean": ("sk_mobilenet", {}),
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
    anywhere = ("prm", "se", "ge", "cbam", "gc", "sge")
    prefixed = {f"{prefix}_{name}" for prefix in anywhere for name in NETWORKS}
    assert set(names) == {*NETWORKS, *prefixed, *(f"sk_{name}" for name in RESNETS)}
    assert len(names) == len(set(names))


@pytest.mark.parametrize("message", ERRORS)
def test_errors(message):
    name, options = ERRORS[message]
    with pytest.raises(ValueError, match=re.escape(message)):
        create_model(name, **options)


def factory(channels, stage):
    return PRM(4)


@pytest.mark.parametrize("prefix", ["prm", "se", "sk"])
def test_a_prefix_and_a_factory_exclude_each_other(prefix):
    message = "both choose the module; use create_model('resnet18', recalibration=…)"
    with pytest.raises(ValueError, match=re.escape(message)):
        create_model(f"{prefix}_resnet18", recalibration=factory)


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


@pytest.mark.parametrize(
    ("name", "options", "want"),
    [
        ("sge_resnet18", {}, 64),
        ("sge_resnet14", {}, 16),
        ("sge_resnet18", {"groups": 8}, 8),
        ("sge_mobilenet_v2", {}, 8),
    ],
)
def test_groups_of_sge(name, options, want):
    channels = 16 if name == "sge_resnet14" else 64
    module = create_model(name, **options).recalibration(channels, 1)
    assert module == SGE(want)


def test_options_of_the_network_reach_its_modules():
    options = {"batch_norm": 4, "bn_epsilon": 1e-3, "dtype": jnp.bfloat16}
    model = create_model("cbam_mobilenet_v2", bn_momentum=0.5, **options)
    assert model.recalibration(24, 2) == CBAM(**options)  # of its own momentum


def test_sk_has_the_network_s_options():
    options = {"batch_norm": 4, "bn_epsilon": 1e-3, "bn_momentum": 0.5}
    options["dtype"] = jnp.bfloat16
    made = []

    def note(call, args, kwargs, context):
        if isinstance(context.module, SK) and context.method_name == "__call__":
            made.append(context.module)
        return call(*args, **kwargs)

    with nn.intercept_methods(note):
        networks.shapes(create_model("sk_resnet14", **options))
    sizes = [(sk.features, sk.stride, sk.groups) for sk in made]
    assert sizes[:4] == [(16, 1, 16), (16, 1, 16), (32, 2, 16), (32, 1, 32)]
    for sk in made:
        assert {name: getattr(sk, name) for name in options} == options


@pytest.mark.parametrize(
    "name", ["prm_resnet18", "mobilenet_v2", "cbam_resnet18", "sk_resnet18"]
)
def test_models_are_values(name):
    """Equal and hashable, as static arguments of jit must be."""
    one, two = (create_model(name, num_classes=3) for _ in range(2))
    assert one == two and hash(one) == hash(two)
    assert one != create_model(name, num_classes=4)
