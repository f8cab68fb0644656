"""Networks by name: `create_model` and `list_models`."""

import dataclasses
import math
from typing import Any

import flax.linen as nn

from prm_flax.backbones.networks import NETWORKS, Architecture
from prm_flax.backbones.prefixes import PREFIXES
from prm_flax.errors import unknown

# Fields of the networks that are not options of `create_model`.
_SETTINGS = frozenset(
    {
        "block",
        "depths",
        "width",
        "slot",
        "selective",
        "frozen_stages",
        "parent",
        "name",
    }
)


def list_models() -> list[str]:
    """All names `create_model` knows, plain networks first.

    Example:
        >>> from prm_flax import list_models
        >>> "prm_resnet50" in list_models()
        True
    """
    prefixed = (f"{p}_{n}" for p in PREFIXES for n in _with_a_place(p))
    return [*NETWORKS, *prefixed]


def _with_a_place(prefix: str) -> list[str]:
    """The networks that the prefix's module fits."""
    fits = PREFIXES[prefix].fits
    return [name for name, network in NETWORKS.items() if fits(network)]


def create_model(name: str, num_classes: int = 1000, **options: Any) -> nn.Module:
    """Builds a network by name.

    A prefix puts a module into every block: prm_, se_, ge_ (extent 0), cbam_, gc_ and
    sge_ after the last norm of the residual branch; sk_ in the place of a dense 3×3
    convolution, its norm and ReLU, which ResNets have: the 3×3 of a bottleneck, the
    first of a basic block. The modules' settings are those of Table 1 (`groups` and the
    shared options apart); in narrow stages reductions leave at least one number.

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
            groups: PRM's and SGE's heads (default 64, mobile networks 8); a stage with
                fewer channels has as many heads as channels.
            similarity: PRM's, "dot", "l1" or "cosine".
            ddof: PRM's, 0 or 1.
            position: PRM's, False leaves the position encoding out.
            normalize: PRM's, False leaves the normalisation out.
            kernel: PRM's, "xla" for no kernel, see `prm_flax.PRM`.
            recalibration: a `Recalibration` factory, for a plain name only, such as
                one of a module of `prm_flax.attention` with other settings.

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
    prefix, plain = _split(name)
    if name not in list_models():
        raise _unknown_model(name, prefix, plain)
    network = NETWORKS[plain]
    known = _options(network, prefix)
    for option in options:
        if option not in known:
            raise _unknown_option(name, option, known)
    _check(num_classes, options)
    if prefix:
        field, value = PREFIXES[prefix].field, PREFIXES[prefix].fill(network, options)
        options |= {field: value, "slot": prefix}
    settings = network.settings | options
    model: Any = network.family(num_classes=num_classes, **settings)
    model.feature_info  # noqa: B018  an unknown stem is an error here, not at init
    return model


def _split(name: str) -> tuple[str, str]:
    if name in NETWORKS:
        return "", name
    prefix, _, plain = name.partition("_")
    return prefix, plain


def _options(network: Architecture, prefix: str) -> list[str]:
    """The options of a network under a prefix."""
    fields = [field.name for field in dataclasses.fields(network.family)]
    hidden = _SETTINGS | {"num_classes"} | ({"recalibration"} if prefix else set())
    own = [name for name in fields if name not in hidden]
    return own + (list(PREFIXES[prefix].options) if prefix else [])


def _unknown_model(name: str, prefix: str, plain: str) -> ValueError:
    if prefix in PREFIXES and plain in NETWORKS:
        return ValueError(
            f"{prefix} takes the place of a dense 3×3 convolution in every block, and "
            f"those of {plain} are depthwise. Networks that have dense ones: "
            f"{', '.join(_with_a_place(prefix))}."
        )
    return unknown("model", name, list_models())


def _unknown_option(name: str, option: str, known: list[str]) -> ValueError:
    if option == "recalibration":
        return ValueError(
            f"recalibration= and the prefix of {name!r} both choose the module; use "
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
