"""An error says what kind of mismatch it is, the first five, and how many more."""

import functools

import numpy as np
import pytest

from prm_flax import create_model
from prm_flax.interop.kinds import kind_of
from prm_flax.interop.names import torch_entries
from prm_flax.interop.report import MismatchError
from prm_flax.interop.shapes import make_template
from prm_flax.interop.torch import from_state_dict


@functools.cache
def shapes_of(name, **options):
    """PyTorch's names and shapes of a network for 10 classes."""
    model = create_model(name, **{"num_classes": 10} | options)
    entries = torch_entries(make_template(model).shapes)
    return {name: entry.torch_shape for name, entry in entries.items()}


# The model, what came, and the words.
NETWORKS = [
    ("prm_resnet14", "resnet14", "a network without PRM"),
    ("resnet14", "prm_resnet14", "a network with PRM"),
    ("prm_resnet14", "se_resnet14", "a network with SE and without PRM"),
    ("resnet14", "sk_resnet14", "a network with SK"),
    ("resnet14", "resnet20", "another depth (is it resnet20?)"),
    ("prm_resnet20", "prm_resnet14", "another depth (is it prm_resnet14?)"),
    ("resnet34", "resnet18", "another depth (is it resnet18?)"),
    ("resnet18", "resnet50", "another depth (is it resnet50?)"),
    (
        "resnet18",
        "resnet14",
        "another depth (is it resnet14?), another width (16 channels first, not 64), "
        "another stem (3×3, not 7×7)",
    ),
    ("resnet14", "mobilenet_v2", "other names altogether (is it mobilenet_v2?)"),
    ("mobilenet_v2", "prm_resnet14", "other names altogether (is it prm_resnet14?)"),
    ("mobilenet_v2", "mnasnet1_0", "other names altogether (is it mnasnet1_0?)"),
    ("mobilenet_v2", "mobilenet_v2", ""),
]


@pytest.mark.parametrize("model, came, words", NETWORKS)
def test_networks_are_told_apart(model, came, words):
    assert kind_of(shapes_of(model), shapes_of(came)) == words


def test_options_are_told_apart():
    ours = shapes_of("resnet14")
    classes = shapes_of("resnet14", num_classes=1000)
    assert kind_of(ours, classes) == "another number of classes (1000, not 10)"
    stem = shapes_of("resnet14", stem="imagenet")
    assert kind_of(ours, stem) == "another stem (7×7, not 3×3)"
    grey = ours | {"conv1.weight": (16, 1, 3, 3)}
    assert kind_of(ours, grey) == "another number of input channels (1, not 3)"


def test_several_kinds_are_named_together():
    words = "a network without PRM, another number of classes (7, not 10)"
    assert kind_of(shapes_of("prm_resnet14"), shapes_of("resnet14", num_classes=7)) == (
        words
    )


OTHER = {
    "conv_stem.weight": "is it one of timm's mobile networks?",
    "patch_embed.proj.weight": "is it a vision transformer?",
    "features.0.weight": "is it a VGG?",
    "net.conv1.weight": "the first is 'net.conv1.weight'",
}


@pytest.mark.parametrize("name", OTHER)
def test_other_programs_names(name):
    received = {name: (4, 3, 2, 2), "fc.bias": (10,)}
    words = f"other names altogether ({OTHER[name]})"
    assert kind_of(shapes_of("resnet14"), received) == words


def test_what_is_none_of_these():
    ours = shapes_of("resnet14")
    less = {name: shape for name, shape in ours.items() if name != "bn1.running_var"}
    more, other = ours | {"extra.weight": (3,)}, ours | {"bn1.bias": (3,)}
    assert kind_of(ours, {}) == "no network at all"
    assert kind_of(ours, less) == "this network, without 1 of its 77"
    assert kind_of(ours, more) == "this network, with others besides"
    assert kind_of(ours, other) == "this network, with other shapes"
    assert kind_of(more, less | {"more": (3,)}) == "this network, with other layers"
    assert kind_of({"fc.bias": (3,)}, {"fc.bias": (4,)}) == (
        "another number of classes (4, not 3)"
    )


def test_the_text_has_the_kind_the_first_five_and_the_number_of_the_rest(
    model, plain_weights
):
    with pytest.raises(MismatchError) as caught:
        from_state_dict(model, plain_weights)
    error = caught.value
    assert str(error) == (
        "a state dict must fit the model, got weights of a network without PRM; 36 "
        "problems:\n"
        "  missing: layer1.0.prm.weight, expected shape (1, 8, 1, 1)\n"
        "  missing: layer1.0.prm.bias, expected shape (1, 8, 1, 1)\n"
        "  missing: layer1.0.prm.one, expected shape (1, 8, 1)\n"
        "  missing: layer1.0.prm.zero, expected shape (1, 8, 1)\n"
        "  missing: layer1.0.prm.theta, expected shape (1, 2, 1, 1)\n"
        "  and 31 more\n"
        "Check the model's name, num_classes and options. Parts that should start "
        'fresh go in new=, such as new=("prm", "fc"), with into=model.init(...).'
    )
    assert error.kind == "a network without PRM"
    assert len(error.problems) == len(error.names) == 36
    assert error.problems[-1] == "missing: layer3.1.prm.scale, expected shape (1,)"
    assert error.names[-1] == "layer3.1.prm.scale"


def test_a_name_is_shown_whatever_it_is_made_of(plain, plain_weights):
    odd = {"two\nlines\x1b[2J caf\udce9": np.zeros(1)}
    line = r"unexpected: two\\nlines\\x1b\[2J caf\\xe9, received shape \(1,\)"
    with pytest.raises(MismatchError, match=line):
        from_state_dict(plain, plain_weights | odd)


def test_parts_that_are_new_are_none_of_the_kinds(model, variables, plain_weights):
    plain_weights = plain_weights | {"fc.bias": np.zeros(7)}
    with pytest.raises(MismatchError) as caught:
        from_state_dict(model, plain_weights, into=variables, new=["prm"])
    assert caught.value.kind == "another number of classes (7, not 10)"
