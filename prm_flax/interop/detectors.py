"""Weights of detectors by other names: torchvision's RetinaNet, and a backbone alone.

The library's own names of a detector are mmdetection's.

torchvision's RetinaNet has the same layers and the same order of anchors and classes.
Its numbers carry over, but not how it uses them: it rounds its anchors' sides, has a
ReLU between the two coarsest levels, and counts the background as a class that it never
predicts. Its first checkpoint makes P6 of P5, here P6 is of C5; its second has norms in
the head. So its weights are a start for training, no detector that finds the same.

Reference: torchvision/models/detection/retinanet.py and
torchvision/ops/feature_pyramid_network.py of torchvision.
"""

import re
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import flax.linen as nn

from prm_flax.interop.names import torch_entries
from prm_flax.interop.shapes import make_template
from prm_flax.interop.timm import from_timm

Value = TypeVar("Value")

BACKBONE = "backbone."


class Rename(NamedTuple):
    """One kind of layer's name in torchvision and here; "#" is a number.

    Attributes:
        theirs: torchvision's.
        ours: the same layer's.
        step: torchvision's numbers are this many times ours.
    """

    theirs: str
    ours: str
    step: int = 1


_HEAD = "head.classification_head", "head.regression_head"
_TOWERS = "bbox_head.cls_convs.#.conv", "bbox_head.reg_convs.#.conv"
# As it is now, then as it was before its layers came in pairs with a norm.
RETINANET = (
    Rename("backbone.fpn.inner_blocks.#.0", "neck.lateral_convs.#.conv"),
    Rename("backbone.fpn.layer_blocks.#.0", "neck.fpn_convs.#.conv"),
    Rename("backbone.fpn.extra_blocks.p6", "neck.fpn_convs.3.conv"),
    Rename("backbone.fpn.extra_blocks.p7", "neck.fpn_convs.4.conv"),
    *(Rename(f"{h}.conv.#.0", t) for h, t in zip(_HEAD, _TOWERS, strict=True)),
    Rename(f"{_HEAD[0]}.cls_logits", "bbox_head.retina_cls"),
    Rename(f"{_HEAD[1]}.bbox_reg", "bbox_head.retina_reg"),
    Rename("backbone.fpn.inner_blocks.#", "neck.lateral_convs.#.conv"),
    Rename("backbone.fpn.layer_blocks.#", "neck.fpn_convs.#.conv"),
    *(Rename(f"{h}.conv.#", t, 2) for h, t in zip(_HEAD, _TOWERS, strict=True)),
)
# Layers with a number of their own before those that are counted, and as it is now.
_BACK = sorted(
    (each for each in RETINANET if each.step == 1), key=lambda each: "#" in each.ours
)
_BODY = "backbone.body."


def from_torchvision(name: str) -> str:
    """A name of torchvision's RetinaNet made mmdetection's; other names stay.

    Example:
        >>> from_torchvision("head.classification_head.conv.2.0.bias")
        'bbox_head.cls_convs.2.conv.bias'
        >>> from_torchvision("backbone.body.layer1.0.conv1.weight")
        'backbone.layer1.0.conv1.weight'
    """
    if name.startswith(_BODY):
        return f"{BACKBONE}{name.removeprefix(_BODY)}"
    for theirs, ours, step in RETINANET:
        if found := _number_in(theirs, name):
            number = int(found[0] or 0) // step
            return f"{ours.replace('#', str(number))}.{found[1]}"
    return name


def to_torchvision(name: str) -> str:
    """The inverse of `from_torchvision`, in the present names.

    Raises:
        ValueError: torchvision's RetinaNet has no such layer.

    Example:
        >>> to_torchvision("neck.fpn_convs.3.conv.weight")
        'backbone.fpn.extra_blocks.p6.weight'
    """
    if name.startswith(BACKBONE):
        return f"{_BODY}{name.removeprefix(BACKBONE)}"
    for theirs, ours, _ in _BACK:
        if found := _number_in(ours, name):
            return f"{theirs.replace('#', found[0] or '')}.{found[1]}"
    raise ValueError(
        f"torchvision's names are of RetinaNet's layers, {name} is none of them. Leave "
        "names= out for mmdetection's."
    )


def _number_in(pattern: str, name: str) -> tuple[str | None, str] | None:
    """The number in the place of "#", and the leaf; None for another layer's name."""
    layer = re.escape(pattern).replace(r"\#", r"(?P<number>\d+)")
    match = re.fullmatch(rf"{layer}\.(?P<leaf>weight|bias)", name)
    return match and (match.groupdict().get("number"), match["leaf"])


# Name of a set of names -> what makes a name of the library one of them.
NAMES: MappingProxyType[str, Callable[[str], str]] = MappingProxyType(
    {"own": lambda name: name, "torchvision": to_torchvision}
)


def for_detector(
    model: nn.Module, named: Mapping[str, Value], own: Collection[str]
) -> dict[str, Value]:
    """Names that are torchvision's, or those of a backbone alone, made a detector's.

    Args:
        model: a detector, or any network, of which names are those of its backbone.
        named: anything by PyTorch's names.
        own: the model's names.
    """
    if not any(name.startswith(BACKBONE) for name in own):
        return from_timm(named, own)
    if any(name.startswith(BACKBONE) for name in named):
        return {from_torchvision(name): value for name, value in named.items()}
    return _of_backbone(model, named, own)


def _of_backbone(
    detector: Any, named: Mapping[str, Value], own: Collection[str]
) -> dict[str, Value]:
    """A classifier's names, without those of layers that a backbone has not."""
    inner = {n.removeprefix(BACKBONE) for n in own if n.startswith(BACKBONE)}
    whole = make_template(detector.backbone.clone(features_only=False)).shapes
    classifier = torch_entries(whole).keys() - inner
    found = from_timm(named, inner | classifier)
    return {f"{BACKBONE}{n}": v for n, v in found.items() if n not in classifier}
