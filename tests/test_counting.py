"""The counts of the paper's networks, and of layers counted by hand."""

import flax.linen as nn
import pytest
from support import golden, networks

from prm_flax import PRM, complexity, create_model
from prm_flax.attention import CBAM, GC, GE, SE, SGE, SK
from prm_flax.layers.basic import GlobalAveragePool, GlobalMaxPool, MaxPool, ReLU
from prm_flax.layers.norm import BatchNorm

# Measured by running public PyTorch code: the authors' program for the networks with
# PRM, torchvision's definitions, the modules' own; `golden/README.md`, section 4.
COUNTS = golden.counts()
RESNETS = [f"resnet{depth}" for depth in (18, 34, 50, 101, 152)]
NETWORKS = [*RESNETS, "mobilenet_v2", "mnasnet1_0"]
COMPARED = [f"{name}_resnet50" for name in ("se", "ge", "cbam", "sk", "gc", "sge")]


@pytest.mark.skipif(golden.GIVEN is not None, reason="PRM_GOLDEN has other networks")
def test_all_that_was_counted_is_tested():
    assert COUNTS.keys() == {*NETWORKS, *(f"prm_{n}" for n in NETWORKS), *COMPARED}


@pytest.mark.parametrize("name", COUNTS)
def test_the_paper_s_networks(name):
    want = COUNTS[name]
    parameters, counter, macs = complexity(create_model(name), (224, 224))
    assert parameters == want["parameters"]
    assert counter == want["counter_ops_224"]
    assert macs == want["conv_linear_macs_224"]


@pytest.mark.parametrize(
    "name",
    sorted(COUNTS.keys() & {"resnet18", "prm_resnet50", "prm_mobilenet_v2", *COMPARED}),
)
def test_running_statistics_are_no_parameters(name):
    shapes = networks.variable_shapes(create_model(name))
    statistics = [s for path, s in shapes.items() if path.startswith("batch_stats/")]
    assert sum(n for (n,) in statistics) == COUNTS[name]["batchnorm_statistics"]


# On an image of 4×6 with 8 channels: layer -> parameters, counter, multiply-adds.
BY_HAND = [
    (nn.Conv(5, (3, 3)), 8 * 5 * 9 + 5, (8 * 9 + 1) * 5 * 24, 8 * 9 * 5 * 24),
    (nn.Conv(5, (1, 1), (2, 2), use_bias=False), 40, 40 * 6, 40 * 6),
    (nn.Conv(8, (3, 3), feature_group_count=8, use_bias=False), 72, 72 * 24, 72 * 24),
    (BatchNorm(), 16, 2 * 8 * 24, 0),
    (ReLU(), 0, 8 * 24, 0),
    (MaxPool(), 0, 8 * 24, 0),
    (GlobalAveragePool(), 0, 8 * 24, 0),
    (GlobalMaxPool(), 0, 8 * 24, 0),
    (PRM(4), 19, (8 + 4) * 24, 0),
    (GE(), 0, 8 * 24, 0),
    (GE(3), 0, 8 * 24, 0),
    (SGE(4), 8, 8 * 24, 0),
    # 2 hidden numbers; 2·2·8 multiply-adds, and as many again for CBAM's maximum.
    (SE(4), 2 * 16 + 2 + 8, 8 * 24 + 32 + 2, 32),
    (CBAM(4), 42 + 98 + 2, 2 * 8 * 24 + 64 + 4 + 98 * 24 + 2 * 24, 64 + 98 * 24),
    # One number a position; 4 planes, biases and a ReLU of theirs.
    (GC(2), 9 + 36 + 8 + 40, 9 * 24 + 64 + 4 + 8 + 4, 8 * 24 + 64),
    # Convolutions of 72 and 36 a number, two norms and ReLUs, two means; 2 hidden.
    (
        SK(8, groups=2, reduction=4),
        8 * 72 + 8 * 36 + 2 * 16 + 16 + 4 + 32,
        8 * 24 * (72 + 36 + 2 * 3 + 2) + 16 + 4 + 32,
        8 * 24 * (72 + 36) + 16 + 32,
    ),
    (nn.LayerNorm(), 16, 0, 0),
]


@pytest.mark.parametrize(
    ("layer", "parameters", "counter", "macs"),
    BY_HAND,
    ids=[f"{type(row[0]).__name__} {row[2]}" for row in BY_HAND],
)
def test_layers(layer, parameters, counter, macs):
    assert complexity(layer, (4, 6, 8)) == (parameters, counter, macs)


def test_a_dense_layer():
    model = nn.Sequential([GlobalAveragePool(), nn.Dense(10)])
    assert complexity(model, (4, 6, 8)) == (90, 8 * 24 + 80, 80)


def test_three_channels_unless_told():
    model = create_model("resnet14")
    assert complexity(model, (28, 28)) == complexity(model, (28, 28, 3))
    grey = complexity(model, (28, 28, 1))
    less = 2 * 9 * 16  # weights of the first convolution
    assert complexity(model, (28, 28)).parameters == grey.parameters + less
    assert complexity(model, (28, 28)).macs == grey.macs + less * 28 * 28


@pytest.mark.parametrize("size", [(224,), (224, 0), (2, 224, 224, 3), (-1, 224), ()])
def test_a_size_that_is_none(size):
    with pytest.raises(ValueError, match=r"size must be \(h, w\) or \(h, w, c\)"):
        complexity(create_model("resnet14"), size)
