"""Detectors by name: `create_detector` and `list_detectors`."""

from types import MappingProxyType
from typing import Any, get_args

import flax.linen as nn

from prm_flax.backbones.registry import create_model, list_models
from prm_flax.detection.cascade_rcnn import CascadeRCNN
from prm_flax.detection.levels import Norms
from prm_flax.detection.retinanet import RetinaNet
from prm_flax.errors import unknown

DETECTORS: MappingProxyType[str, type[RetinaNet] | type[CascadeRCNN]] = (
    MappingProxyType({"retinanet": RetinaNet, "cascade_rcnn": CascadeRCNN})
)
NORMS = get_args(Norms)
# Stages that, with the stem, are not trained in the paper.
FROZEN = 1
OF_CLASSIFIERS = frozenset({"features_only", "dropout"})
# Options of a detector itself.
OF_DETECTORS = MappingProxyType(
    {
        "retinanet": ("norms", "channels", "depth"),
        "cascade_rcnn": ("norms", "channels", "hidden"),
    }
)


def list_detectors() -> list[str]:
    """All names `create_detector` knows.

    Example:
        >>> from prm_flax.detection import list_detectors
        >>> "retinanet_prm_resnet50" in list_detectors()
        True
    """
    return [f"{d}_{backbone}" for d in DETECTORS for backbone in list_models()]


def create_detector(
    name: str, num_classes: int = 80, *, frozen_stages: int = FROZEN, **options: Any
) -> nn.Module:
    """Builds a detector by name.

    Args:
        name: one of `list_detectors()`, such as "retinanet_prm_resnet50".
        num_classes: K, without background.
        frozen_stages: of the backbone, with the stem, that are not trained; 0 for none.
        **options: those of `create_model`; `dtype` and `param_dtype` are also those of
            neck and head. `norms`: "running" statistics of the backbone's batch norms
            in training, or the "batch"'s, without frozen stages. `channels`, of the
            pyramid and what is on it, and `depth`, of RetinaNet's towers, or `hidden`,
            of Cascade R-CNN's dense layers.

    Returns:
        A Linen module: `model.apply(variables, images, sizes)` takes images
        (b, h, w, c) padded to a multiple of 32, at the bottom and at the right, and
        their own sizes (b, 2) or None.

    Raises:
        ValueError: an unknown name, option or value; the message has the nearest one.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from prm_flax.detection import create_detector
        >>> model = create_detector("retinanet_resnet14", 3, stem="imagenet")
        >>> images = jnp.ones((1, 64, 64, 3))
        >>> shapes = jax.eval_shape(model.init_with_output, jax.random.key(0), images)
        >>> [logits.shape for logits in shapes[0].logits][:2]
        [(1, 16, 16, 9, 3), (1, 8, 8, 9, 3)]
    """
    if name not in list_detectors():
        raise unknown("detector", name, list_detectors())
    kind = next(d for d in DETECTORS if name.startswith(f"{d}_"))
    for own in OF_CLASSIFIERS & options.keys():
        raise ValueError(
            f"{own} is an option of classifiers; a detector takes features from its "
            "backbone, which has no classifier. Leave it out."
        )
    if options.get("norms", NORMS[0]) not in NORMS:
        raise ValueError(f"norms must be one of {[*NORMS]}, got {options['norms']!r}.")
    if options.get("norms") == "batch" and frozen_stages:
        raise ValueError(
            "norms='batch' is for a backbone that is trained whole: its frozen stages "
            f"keep their statistics. Got frozen_stages={frozen_stages}; 0 is needed."
        )
    detector = DETECTORS[kind]
    more = {n: options.pop(n) for n in OF_DETECTORS[kind] if n in options}
    network = create_model(name.removeprefix(f"{kind}_"), features_only=True, **options)
    types = {n: options[n] for n in ("dtype", "param_dtype") if n in options}
    frozen: Any = network.clone(frozen_stages=frozen_stages)
    return detector(backbone=frozen, num_classes=num_classes, **types, **more)
