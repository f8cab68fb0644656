"""Weights of detectors: torchvision's names, and those of a backbone alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interop.support import assert_same, variables_of
from support.torch_file import torch_file

from prm_flax import create_model
from prm_flax.detection import create_detector
from prm_flax.interop.detectors import from_torchvision, to_torchvision
from prm_flax.interop.torch import (
    MismatchError,
    from_state_dict,
    read_pth,
    to_state_dict,
)

# torchvision's retinanet_resnet50_fpn, one name of each kind -> mmdetection's.
TORCHVISION = {
    "backbone.body.conv1.weight": "backbone.conv1.weight",
    "backbone.body.layer4.2.bn3.running_var": "backbone.layer4.2.bn3.running_var",
    "backbone.fpn.inner_blocks.2.0.bias": "neck.lateral_convs.2.conv.bias",
    "backbone.fpn.layer_blocks.0.0.weight": "neck.fpn_convs.0.conv.weight",
    "backbone.fpn.extra_blocks.p6.weight": "neck.fpn_convs.3.conv.weight",
    "backbone.fpn.extra_blocks.p7.bias": "neck.fpn_convs.4.conv.bias",
    "head.classification_head.conv.3.0.bias": "bbox_head.cls_convs.3.conv.bias",
    "head.classification_head.cls_logits.weight": "bbox_head.retina_cls.weight",
    "head.regression_head.conv.0.0.weight": "bbox_head.reg_convs.0.conv.weight",
    "head.regression_head.bbox_reg.bias": "bbox_head.retina_reg.bias",
}
# As checkpoints of 2020 have them.
OLDER = {
    "backbone.fpn.inner_blocks.1.weight": "neck.lateral_convs.1.conv.weight",
    "backbone.fpn.layer_blocks.2.bias": "neck.fpn_convs.2.conv.bias",
    "head.classification_head.conv.4.bias": "bbox_head.cls_convs.2.conv.bias",
    "head.regression_head.conv.6.weight": "bbox_head.reg_convs.3.conv.weight",
}


@pytest.mark.parametrize("theirs", TORCHVISION)
def test_torchvision_s_names_there_and_back(theirs):
    assert from_torchvision(theirs) == TORCHVISION[theirs]
    assert to_torchvision(TORCHVISION[theirs]) == theirs


@pytest.mark.parametrize("theirs", OLDER)
def test_torchvision_s_older_names(theirs):
    assert from_torchvision(theirs) == OLDER[theirs]


def retinanet(network="resnet14"):
    return create_detector(f"retinanet_{network}", 3, stem="imagenet")


def cascade():
    return create_detector("cascade_rcnn_resnet14", 3, stem="imagenet")


def test_torchvision_s_whole_retinanet():
    model = retinanet()
    variables = variables_of(model, 3)
    named = to_state_dict(model, variables, names="torchvision")
    assert not {n for n in named if n.startswith(("neck.", "bbox_head."))}
    assert "backbone.fpn.extra_blocks.p7.weight" in named
    assert_same(from_state_dict(model, named), variables)


def test_a_first_checkpoint_lacks_only_the_p6_of_c5():
    """torchvision's is of P5: 256 channels."""
    model = retinanet()
    variables = variables_of(model, 3)
    named = to_state_dict(model, variables, names="torchvision")
    p6 = "backbone.fpn.extra_blocks.p6.weight"
    named[p6] = np.zeros((256, 256, 3, 3), np.float32)
    with pytest.raises(MismatchError, match=r"P6 of P5.*neck\.fpn_convs\.3"):
        from_state_dict(model, named)
    fresh = variables_of(model, 3, seed=1)
    got = from_state_dict(model, named, into=fresh, new=("neck.fpn_convs.3",))
    own, other = got["params"]["neck"], fresh["params"]["neck"]
    assert_same(own.pop("fpn_convs_3"), other["fpn_convs_3"])
    assert_same(own["fpn_convs_0"], variables["params"]["neck"]["fpn_convs_0"])


@pytest.mark.parametrize(
    ("network", "words"),
    [("cascade_rcnn", "RetinaNet's layers"), ("classifier", "RetinaNet's layers")],
)
def test_only_retinanet_has_torchvision_s_names(network, words):
    model = cascade() if network == "cascade_rcnn" else create_model("resnet14")
    with pytest.raises(ValueError, match=words):
        to_state_dict(model, variables_of(model, 3), names="torchvision")


def test_unknown_names():
    with pytest.raises(ValueError, match=r"set of names.*torchvision"):
        to_state_dict(retinanet(), {}, names="torchvison")


@pytest.mark.parametrize(
    ("make", "new"),
    [
        (retinanet, ("neck", "bbox_head")),
        (cascade, ("neck", "rpn_head", "roi_head")),
        (lambda: retinanet("prm_resnet14"), ("neck", "bbox_head", "prm")),
    ],
)
def test_a_classifier_s_weights_start_a_detector(make, new):
    """Its last layer is left out."""
    detector = make()
    classifier = create_model("resnet14", 1000, stem="imagenet")
    weights = to_state_dict(classifier, variables_of(classifier, 3, seed=1))
    fresh = variables_of(detector, 3)
    got = from_state_dict(detector, weights, into=fresh, new=new)
    back = to_state_dict(detector, got)
    for name, want in weights.items():
        if not name.startswith("fc."):
            np.testing.assert_array_equal(back[f"backbone.{name}"], want)
    for part in got["params"].keys() - {"backbone"}:
        assert_same(got["params"][part], fresh["params"][part])


@pytest.mark.parametrize(
    "name", ["mobilenet_v2", pytest.param("mnasnet1_0", marks=pytest.mark.slow)]
)
def test_a_mobile_network_starts_a_detector_without_its_last_layers(name):
    detector, classifier = create_detector(f"retinanet_{name}", 3), create_model(name)
    weights = to_state_dict(classifier, variables_of(classifier, 3))
    fresh = variables_of(detector, 3, seed=1)
    new = ("neck", "bbox_head")
    got = from_state_dict(detector, weights, into=fresh, new=new)
    back = to_state_dict(detector, got)
    body = {n for n in back if n.startswith("backbone.")}
    left_out = weights.keys() - {n.removeprefix("backbone.") for n in body}
    assert body
    assert {name.split(".")[0] for name in left_out} <= {
        "features",
        "layers",
        "classifier",
    }
    for each in body:
        np.testing.assert_array_equal(
            back[each], weights[each.removeprefix("backbone.")]
        )


def test_a_backbone_without_new_says_what_to_do():
    classifier = create_model("resnet14", stem="imagenet")
    weights = to_state_dict(classifier, variables_of(classifier, 3))
    words = r"a backbone alone.*neck, bbox_head"
    with pytest.raises(MismatchError, match=words):
        from_state_dict(retinanet(), weights)


def test_another_backbone_is_no_start():
    classifier = create_model("resnet20", stem="imagenet")
    weights = to_state_dict(classifier, variables_of(classifier, 3))
    model = retinanet()
    fresh = variables_of(model, 3)
    with pytest.raises(MismatchError, match="another depth"):
        from_state_dict(model, weights, into=fresh, new=("neck", "bbox_head"))


class HistoryBuffer:
    """What a training program keeps of its losses: a class that is not here."""

    def __init__(self, values):
        self.values = values


@pytest.mark.parametrize("make", [retinanet, cascade])
def test_a_training_program_s_checkpoint(make, tmp_path):
    """With `meta`, `optimizer` and objects of its own beside the weights."""
    model = make()
    variables = jax.tree.map(jnp.ones_like, variables_of(model, 3))
    weights = to_state_dict(model, variables, counters=True)
    momentum = np.full((2, 3), 0.5, np.float32)
    checkpoint = {
        "meta": {
            "cfg": "model = dict(\n    type='RetinaNet')\n",
            "epoch": 12,
            "dataset_meta": {"CLASSES": ("person", "bicycle"), "PALETTE": [(1, 2, 3)]},
            "time": np.float64(3.5),
        },
        "state_dict": weights,
        "message_hub": {"log": HistoryBuffer(np.arange(3.0)), "n": np.int64(3)},
        "optimizer": {
            "state": {0: {"momentum_buffer": momentum, "step": 3}},
            "param_groups": [{"lr": 0.01, "params": [0, 1]}],
        },
        "param_schedulers": [{"milestones": {16: 1}, "gamma": 0.1}],
    }
    path = tmp_path / "epoch_12.pth"
    path.write_bytes(torch_file(checkpoint))
    assert_same(from_state_dict(model, read_pth(path)), variables)
