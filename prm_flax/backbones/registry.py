"""Networks by name: `create_model` and `list_models`."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from prm_flax.backbones.mnasnet import MnasNet
from prm_flax.backbones.mobilenet_v2 import MobileNetV2
from prm_flax.backbones.resnet import BasicBlock, Bottleneck, ResNet
from prm_flax.backbones.slot import PRMFactory
from prm_flax.errors import unknown
from prm_flax.prm.checks import check_options

_small = partial(ResNet, BasicBlock, width=16, stem="3x3")

NETWORKS: MappingProxyType[str, Callable[..., nn.Module]] = MappingProxyType(
    {
        "resnet14": partial(_small, depths=(2, 2, 2)),
        "resnet20": partial(_small, depths=(3, 3, 3)),
        "resnet18": partial(ResNet, BasicBlock, (2, 2, 2, 2)),
        "resnet34": partial(ResNet, BasicBlock, (3, 4, 6, 3)),
        "resnet50": partial(ResNet, Bottleneck, (3, 4, 6, 3)),
        "resnet101": partial(ResNet, Bottleneck, (3, 4, 23, 3)),
        "resnet152": partial(ResNet, Bottleneck, (3, 8, 36, 3)),
        "mobilenet_v2": MobileNetV2,
        "mnasnet1_0": MnasNet,
    }
)
# The official programs: 64 heads, 8 in the mobile networks.
DEFAULT_GROUPS = MappingProxyType({ResNet: 64, MobileNetV2: 8, MnasNet: 8})


def prm_factory(network: type, options: dict[str, Any]) -> PRMFactory:
    """Takes PRM's options out of `options` and makes the factory of its modules."""
    given = {
        name: options.pop(name)
        for name in ("groups", "similarity", "ddof", "position", "normalize")
        if name in options
    }
    factory = PRMFactory(
        **{"groups": DEFAULT_GROUPS[network]} | given,
        dtype=options.get("dtype"),
        param_dtype=options.get("param_dtype", jnp.float32),
    )
    check_options(factory.groups, factory.similarity, factory.ddof)
    return factory


# Prefix of a model's name, which is also the module's name -> factory of the factory.
RECALIBRATIONS: MappingProxyType[str, Callable[[type, dict[str, Any]], Any]] = (
    MappingProxyType({"prm": prm_factory})
)


def list_models() -> list[str]:
    """All names `create_model` knows, plain networks first.

    Example:
        >>> from prm_flax import list_models
        >>> "prm_resnet50" in list_models()
        True
    """
    prefixed = (f"{p}_{n}" for p in RECALIBRATIONS for n in NETWORKS)
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
    prefix, network = _split(name)
    build = NETWORKS[network]
    family = build.func if isinstance(build, partial) else build
    if prefix:
        if options.get("recalibration") is not None:
            raise ValueError(
                f"recalibration= and the prefix of {name!r} both fill the slot; use "
                f"create_model({network!r}, recalibration=…)."
            )
        factory = RECALIBRATIONS[prefix](family, options)
        options |= {"recalibration": factory, "slot": prefix}
    elif "slot" in options:
        raise unknown("option", "slot", _options(family, prefix))
    known = {field.name for field in dataclasses.fields(family)}
    for option in options:
        if option not in known - {"block", "depths", "width", "parent", "name"}:
            raise unknown(f"option of {name}", option, _options(family, prefix))
    _check(num_classes, options)
    model = build(num_classes=num_classes, **options)
    model.feature_info  # noqa: B018  raises here, not at init, for an unknown stem
    return model


def _split(name: str) -> tuple[str, str]:
    if name in NETWORKS:
        return "", name
    prefix, _, network = name.partition("_")
    return prefix, network


def _options(family: type, prefix: str) -> list[str]:
    hidden = {"block", "depths", "width", "parent", "name", "slot", "num_classes"}
    hidden |= {"recalibration"} if prefix else set()
    own = [f.name for f in dataclasses.fields(family) if f.name not in hidden]
    prm = ["groups", "similarity", "ddof", "position", "normalize"]
    return own + (prm if prefix == "prm" else [])


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
