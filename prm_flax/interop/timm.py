"""timm's names of MobileNetV2, in a table.

timm's ResNets (resnet18, 34, 50, 101, 152) have torchvision's names already. Its
MobileNetV2 (mobilenetv2_100) counts blocks by stage and calls the layers of a block by
what they do; the layers themselves are the same.

Reference: the networks of Wightman's PyTorch Image Models, version 1.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import TypeVar

from prm_flax.backbones.mobilenet_v2 import MobileNetV2

Value = TypeVar("Value")

# Of one block: timm's module -> ours. The first has no expansion.
FIRST = MappingProxyType(
    {"conv_dw": "0.0", "bn1": "0.1", "conv_pw": "1", "bn2": "2"},
)
BLOCK = MappingProxyType(
    {
        "conv_pw": "0.0",
        "bn1": "0.1",
        "conv_dw": "1.0",
        "bn2": "1.1",
        "conv_pwl": "2",
        "bn3": "3",
    }
)


def _mobilenet_v2() -> dict[str, str]:
    """A table of timm's modules of MobileNetV2 -> torchvision's."""
    places = [
        (k, i) for k, s in enumerate(MobileNetV2.stages) for i in range(s.repeats)
    ]
    last = f"features.{1 + len(places)}"
    table = {"conv_stem": "features.0.0", "bn1": "features.0.1"}
    for number, (stage, i) in enumerate(places, start=1):
        layers = FIRST if MobileNetV2.stages[stage].expansion == 1 else BLOCK
        for theirs, ours in layers.items():
            table[f"blocks.{stage}.{i}.{theirs}"] = f"features.{number}.conv.{ours}"
    ends = {"conv_head": f"{last}.0", "bn2": f"{last}.1", "classifier": "classifier.1"}
    return table | ends


TABLE: MappingProxyType[str, str] = MappingProxyType(_mobilenet_v2())


def from_timm(named: Mapping[str, Value], own: Collection[str]) -> dict[str, Value]:
    """Names of timm made torchvision's, where a network has those and not timm's.

    Args:
        named: anything by PyTorch's names.
        own: the network's names.

    Example:
        >>> from prm_flax.interop.timm import from_timm
        >>> from_timm({"blocks.1.0.bn3.bias": 0}, ["features.2.conv.3.bias"])
        {'features.2.conv.3.bias': 0}
    """
    known = frozenset(own)
    return {_renamed(name, known): value for name, value in named.items()}


def _renamed(name: str, own: frozenset[str]) -> str:
    module, _, leaf = name.rpartition(".")
    new = f"{TABLE[module]}.{leaf}" if module in TABLE else name
    return new if name not in own and new in own else name
