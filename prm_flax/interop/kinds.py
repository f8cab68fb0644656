"""What kind of mismatch it is: a network without PRM, another depth, other names.

A state dict says by its names and shapes what network it is of. Each kind is a function
of the names and shapes that a model expects and those that came, which gives the words
for an error, or "".
"""

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from prm_flax.backbones.blocks import Bottleneck
from prm_flax.backbones.networks import NETWORKS
from prm_flax.backbones.prefixes import PREFIXES
from prm_flax.interop.report import Shape

Shapes = Mapping[str, Shape]

# The last layer has either name.
CLASSIFIER = ("fc", "classifier")
# Prefix of a network's name -> parts of names that it alone has: SK's layers are the
# block's own.
MODULES = MappingProxyType(
    {prefix: (prefix,) for prefix in PREFIXES}
    | {"sk": ("conv1g", "bn1g", "conv2g", "bn2g", "conv_fc1", "bn_fc1", "conv_fc2")}
)
P6 = "neck.fpn_convs.3.conv.weight"
# A name that a network has and no other one -> what to call it.
MARKS = MappingProxyType(
    {
        "features.1.conv.0.0.weight": "mobilenet_v2",
        "layers.8.0.layers.0.weight": "mnasnet1_0",
        "conv_stem.weight": "one of timm's mobile networks",
        "features.0.weight": "a VGG",
        "features.conv0.weight": "a DenseNet",
        "patch_embed.proj.weight": "a vision transformer",
        "backbone.conv1.weight": "a detector",
    }
)


def has_part(name: str, parts: Iterable[str]) -> bool:
    """Whether a dotted name has one of the parts."""
    return any(f".{part}." in f".{name}." for part in parts)


def kind_of(expected: Shapes, received: Shapes) -> str:
    """The kinds of mismatch, for an error that says "weights of …"; "" for none known.

    Args:
        expected: PyTorch's names and shapes of a model.
        received: those of a state dict.

    Example:
        >>> ours = {"conv1.weight": (64, 3, 7, 7), "fc.bias": (10,)}
        >>> kind_of(ours, ours | {"fc.bias": (1000,)})
        'another number of classes (1000, not 10)'
    """
    if not received:
        return "no network at all"
    if _body(expected) and not _body(expected) & _body(received):
        return f"other names altogether ({_likely(received)})"
    found = [kind(expected, received) for kind in KINDS]
    return ", ".join(filter(None, found)) or _otherwise(expected, received)


def _modules(expected: Shapes, received: Shapes) -> str:
    ours, theirs = _prefixes(expected), _prefixes(received)
    words = [f"with {p.upper()}" for p in theirs if p not in ours]
    words += [f"without {p.upper()}" for p in ours if p not in theirs]
    return f"a network {' and '.join(words)}" if words else ""


def _depth(expected: Shapes, received: Shapes) -> str:
    ours, theirs = _blocks(expected), _blocks(received)
    usual = {_numberless(block) for block in ours & theirs}
    if any(_numberless(block) in usual for block in ours ^ theirs):
        return f"another depth ({_likely(received)})"
    return ""


def _classes(expected: Shapes, received: Shapes) -> str:
    ours, theirs = _bias(expected), _bias(received)
    if not ours or not theirs or ours == theirs:
        return ""
    return f"another number of classes ({theirs[0]}, not {ours[0]})"


def _stem(expected: Shapes, received: Shapes) -> str:
    ours, theirs = _first(expected, received)
    if len(ours) != 4 or len(theirs) != 4:
        return ""
    if ours[1] != theirs[1]:
        return f"another number of input channels ({theirs[1]}, not {ours[1]})"
    if ours[2:] != theirs[2:]:
        return f"another stem ({theirs[2]}×{theirs[3]}, not {ours[2]}×{ours[3]})"
    return ""


def _width(expected: Shapes, received: Shapes) -> str:
    ours, theirs = _first(expected, received)
    if not theirs or ours[:1] == theirs[:1]:
        return ""
    return f"another width ({theirs[0]} channels first, not {ours[0]})"


def _parts(expected: Shapes, received: Shapes) -> str:
    """A detector's parts that did not come."""
    ours = dict.fromkeys(name.split(".")[0] for name in expected)
    theirs = {name.split(".")[0] for name in received}
    missing = [part for part in ours if part not in theirs]
    if "backbone" not in theirs or not missing:
        return ""
    return f"a backbone alone, without {', '.join(missing)}"


def _p6(expected: Shapes, received: Shapes) -> str:
    """The first RetinaNet of torchvision makes P6 of the finished level before it."""
    ours, theirs = expected.get(P6, ()), received.get(P6, ())
    if len(theirs) != 4 or ours == theirs or theirs[0] != theirs[1]:
        return ""
    return "a RetinaNet that makes P6 of P5 (new='neck.fpn_convs.3' starts it afresh)"


# In the order in which they are said.
KINDS: tuple[Callable[[Shapes, Shapes], str], ...] = (
    _parts,
    _p6,
    _modules,
    _depth,
    _width,
    _stem,
    _classes,
)


def _otherwise(expected: Shapes, received: Shapes) -> str:
    """Where it is none of the kinds."""
    missing, more = expected.keys() - received.keys(), received.keys() - expected.keys()
    if any(expected[name] != received[name] for name in expected.keys() - missing):
        return "this network, with other shapes"
    if missing and more:
        return "this network, with other layers"
    if missing:
        return f"this network, without {len(missing)} of its {len(expected)}"
    return "this network, with others besides" if more else ""


def _first(expected: Shapes, received: Shapes) -> tuple[Shape, Shape]:
    """Shapes of the first convolution's weight, () where there is none."""
    name = next((name for name in expected if not has_part(name, CLASSIFIER)), "")
    return expected.get(name, ()), received.get(name, ())


def _body(names: Iterable[str]) -> set[str]:
    """All names but the classifier's."""
    return {name for name in names if not has_part(name, CLASSIFIER)}


def _prefixes(names: Iterable[str]) -> list[str]:
    words = {word for name in names for word in name.split(".")}
    return [p for p, parts in MODULES.items() if words.intersection(parts)]


def _blocks(names: Iterable[str]) -> set[str]:
    """The parts of a network that are counted, such as layer1.0 and features.17."""
    found = (re.match(r"(.*?\.\d+)\.", name) for name in names)
    return {match[1] for match in found if match}


def _numberless(block: str) -> str:
    return re.sub(r"\d+", "#", block)


def _bias(shapes: Shapes) -> Shape:
    """Shape of the classifier's bias, () without one."""
    names = [name for name in shapes if name.split(".")[0] in CLASSIFIER]
    return next((shapes[name] for name in names if name.endswith(".bias")), ())


def _likely(received: Shapes) -> str:
    """Words for the network that the names are of."""
    found = [_resnet(received), *(MARKS[name] for name in MARKS if name in received)]
    if name := next(filter(None, found), ""):
        prefixes = _prefixes(received)[:1] if name in NETWORKS else []
        return f"is it {'_'.join([*prefixes, name])}?"
    return f"the first is {next(iter(received))[:100]!r}"


def _resnet(names: Iterable[str]) -> str:
    """The network whose stages have as many blocks, and of the same kind."""
    blocks = [block for block in _blocks(names) if block.startswith("layer")]
    stages = sorted({block.split(".")[0] for block in blocks})
    depths = tuple(sum(b.startswith(f"{s}.") for b in blocks) for s in stages)
    is_deep = "layer1.0.conv3.weight" in names
    for name, network in NETWORKS.items():
        is_bottleneck = network.settings.get("block") is Bottleneck
        if network.settings.get("depths") == depths and is_bottleneck == is_deep:
            return name
    return "a ResNet" if "layer1.0.conv1.weight" in names else ""
