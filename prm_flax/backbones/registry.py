"""Networks by name: `create_model` and `list_models`."""

import dataclasses
import math
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from prm_flax.backbones.mnasnet import MnasNet
from prm_flax.backbones.mobilenet_v2 import MobileNetV2
from prm_flax.backbones.resnet import BasicBlock, Bottleneck, ResNet
from prm_flax.backbones.slot import PRMFactory, Recalibration
from prm_flax.errors import unknown
from prm_flax.prm.checks import check_options


class Network(NamedTuple):
    """A network of the zoo.

    Attributes:
        family: its class.
        settings: what makes it this one of the family.
        groups: PRM's heads unless `groups` says otherwise (the official programs').
    """

    family: type[ResNet] | type[MobileNetV2] | type[MnasNet]
    settings: dict[str, Any]
    groups: int


def _resnet(block: type[BasicBlock] | type[Bottleneck], *depths: int) -> Network:
    return Network(ResNet, {"block": block, "depths": depths}, groups=64)


def _small_resnet(depth: int) -> Network:
    settings = {"block": BasicBlock, "depths": (depth,) * 3, "width": 16}
    return Network(ResNet, settings | {"stem": "3x3"}, groups=64)


NETWORKS: MappingProxyType[str, Network] = MappingProxyType(
    {
        "resnet14": _small_resnet(2),
        "resnet20": _small_resnet(3),
        "resnet18": _resnet(BasicBlock, 2, 2, 2, 2),
        "resnet34": _resnet(BasicBlock, 3, 4, 6, 3),
        "resnet50": _resnet(Bottleneck, 3, 4, 6, 3),
        "resnet101": _resnet(Bottleneck, 3, 4, 23, 3),
        "resnet152": _resnet(Bottleneck, 3, 8, 36, 3),
        "mobilenet_v2": Network(MobileNetV2, {}, groups=8),
        "mnasnet1_0": Network(MnasNet, {}, groups=8),
    }
)


class Prefix(NamedTuple):
    """A module that a prefix of a model's name puts into the slot.

    Attributes:
        options: the options of `create_model` that are the module's.
        factory: makes the `Recalibration` factory of a network from all options.
    """

    options: tuple[str, ...]
    factory: Callable[[Network, dict[str, Any]], Recalibration]


def _prm_factory(network: Network, options: dict[str, Any]) -> PRMFactory:
    """Takes PRM's options out of `options` and makes the factory of its modules."""
    given = {name: options.pop(name) for name in PRM_OPTIONS if name in options}
    factory = PRMFactory(
        groups=given.pop("groups", network.groups),
        dtype=options.get("dtype"),
        param_dtype=options.get("param_dtype", jnp.float32),
        **given,
    )
    check_options(factory.groups, factory.similarity, factory.ddof)
    return factory


PRM_OPTIONS = ("groups", "similarity", "ddof", "position", "normalize")

# The prefix is also the module's name in the parameters.
PREFIXES: MappingProxyType[str, Prefix] = MappingProxyType(
    {"prm": Prefix(PRM_OPTIONS, _prm_factory)}
)

# Fields of the networks that are not options of `create_model`.
_SETTINGS = frozenset({"block", "depths", "width", "slot", "parent", "name"})


def list_models() -> list[str]:
    """All names `create_model` knows, plain networks first.

    Example:
        >>> from prm_flax import list_models
        >>> "prm_resnet50" in list_models()
        True
    """
    prefixed = (f"{p}_{n}" for p in PREFIXES for n in NETWORKS)
    return [*NETWORKS, *prefixed]


def create_model(name: str, num_classes: int = 1000, **options: Any) -> nn.Module:
    """Builds a network by name.

    Args:
        name: one of `list_models()`, such as "prm_resnet50".
        num_classes: logits of the classifier.
        **options:
            dtype: of the computation (default the input's and parameters' common one).
            param_dtype: of the parameters.
            dropout: rate before the classifier (mobile networks 0.2, ResNets 0).
            stem: ResNets: "imagenet", "3x3" or "3x3_stride2".
            batch_norm: images a batch-norm statistic is taken over, or "global".
            bn_momentum: share of the old running statistics kept.
            bn_epsilon: added to the variance.
            zero_init: start the last norm of every residual branch at scale 0.
            remat: recompute each block in the backward pass instead of keeping it.
            features_only: return {"stage1": …} instead of logits.
            groups: PRM's heads (default 64, mobile networks 8); a stage with fewer
                channels has as many heads as channels.
            similarity: PRM's, "dot", "l1" or "cosine".
            ddof: PRM's, 0 or 1.
            position: PRM's, False leaves the position encoding out.
            normalize: PRM's, False leaves the normalisation out.
            recalibration: a `Recalibration` factory, for a plain name only.

    Returns:
        A Linen module: `model.apply(variables, x, train=False)` gives the logits
        (b, num_classes) of images x (b, h, w, c).

    Raises:
        ValueError: an unknown name, option or value; the message has the nearest one.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from prm_flax import create_model
        >>> model = create_model("prm_resnet14", num_classes=10, groups=8)
        >>> x = jnp.ones((2, 28, 28, 1))
        >>> variables = model.init(jax.random.key(0), x)
        >>> model.apply(variables, x).shape
        (2, 10)
    """
    if name not in list_models():
        raise unknown("model", name, list_models())
    prefix, plain = _split(name)
    network = NETWORKS[plain]
    known = _options(network, prefix)
    for option in options:
        if option not in known:
            raise _unknown_option(name, option, known)
    _check(num_classes, options)
    if prefix:
        factory = PREFIXES[prefix].factory(network, options)
        options |= {"recalibration": factory, "slot": prefix}
    settings = network.settings | options
    model: Any = network.family(num_classes=num_classes, **settings)
    model.feature_info  # noqa: B018  an unknown stem is an error here, not at init
    return model


def _split(name: str) -> tuple[str, str]:
    if name in NETWORKS:
        return "", name
    prefix, _, plain = name.partition("_")
    return prefix, plain


def _options(network: Network, prefix: str) -> list[str]:
    """The options of a network under a prefix."""
    fields = [field.name for field in dataclasses.fields(network.family)]
    hidden = _SETTINGS | {"num_classes"} | ({"recalibration"} if prefix else set())
    own = [name for name in fields if name not in hidden]
    return own + (list(PREFIXES[prefix].options) if prefix else [])


def _unknown_option(name: str, option: str, known: list[str]) -> ValueError:
    if option == "recalibration":
        return ValueError(
            f"recalibration= and the prefix of {name!r} both fill the slot; use "
            f"create_model({_split(name)[1]!r}, recalibration=…)."
        )
    return unknown(f"option of {name}", option, known)


def _check(num_classes: int, options: dict[str, Any]) -> None:
    statistics = options.get("batch_norm", "global")
    dropout = options.get("dropout", 0.0)
    momentum = options.get("bn_momentum", 0.9)
    epsilon = options.get("bn_epsilon", 1e-5)
    if not _positive_integer(num_classes):
        raise ValueError(f"num_classes must be a positive integer, got {num_classes!r}")
    if statistics != "global" and not _positive_integer(statistics):
        raise ValueError(
            "batch_norm must be 'global' or the number of images a statistic is taken "
            f"over, a positive integer; got {statistics!r}."
        )
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {dropout!r}.")
    if not 0 <= momentum <= 1:
        raise ValueError(f"bn_momentum must be in [0, 1], got {momentum!r}.")
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise ValueError(f"bn_epsilon must be positive, got {epsilon!r}.")


def _positive_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
