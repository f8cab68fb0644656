"""The networks of the zoo, by name."""

from types import MappingProxyType
from typing import Any, NamedTuple

from prm_flax.backbones.blocks import BasicBlock, Bottleneck
from prm_flax.backbones.mnasnet import MnasNet
from prm_flax.backbones.mobilenet_v2 import MobileNetV2
from prm_flax.backbones.resnet import ResNet


class Architecture(NamedTuple):
    """A network of the zoo.

    Attributes:
        family: its class.
        settings: what makes it this one of the family.
        groups: PRM's and SGE's heads unless `groups` says otherwise; for PRM they are
            the official programs'.
    """

    family: type[ResNet] | type[MobileNetV2] | type[MnasNet]
    settings: dict[str, Any]
    groups: int


def _resnet(block: type[BasicBlock] | type[Bottleneck], *depths: int) -> Architecture:
    return Architecture(ResNet, {"block": block, "depths": depths}, groups=64)


def _small_resnet(depth: int) -> Architecture:
    settings = {"block": BasicBlock, "depths": (depth,) * 3, "width": 16}
    return Architecture(ResNet, settings | {"stem": "3x3"}, groups=64)


NETWORKS: MappingProxyType[str, Architecture] = MappingProxyType(
    {
        "resnet14": _small_resnet(2),
        "resnet20": _small_resnet(3),
        "resnet18": _resnet(BasicBlock, 2, 2, 2, 2),
        "resnet34": _resnet(BasicBlock, 3, 4, 6, 3),
        "resnet50": _resnet(Bottleneck, 3, 4, 6, 3),
        "resnet101": _resnet(Bottleneck, 3, 4, 23, 3),
        "resnet152": _resnet(Bottleneck, 3, 8, 36, 3),
        "mobilenet_v2": Architecture(MobileNetV2, {}, groups=8),
        "mnasnet1_0": Architecture(MnasNet, {}, groups=8),
    }
)
