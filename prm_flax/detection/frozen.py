"""Which parameters of a detector are trained."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax


def trainable(model: nn.Module, params: Mapping[str, Any]) -> Any:
    """All but those of the backbone's stem and frozen stages, their modules included.

    The others get gradients of 0; weight decay would shrink them all the same.

    Args:
        model: of `create_detector`.
        params: its parameters, or anything with their structure.

    Returns:
        True or False for each leaf, as `optax.masked` wants it.

    Example:
        >>> from prm_flax.detection import create_detector, trainable
        >>> model = create_detector("retinanet_resnet14", 3, stem="imagenet")
        >>> x = jax.numpy.ones((1, 64, 64, 3))
        >>> params = jax.eval_shape(model.init, jax.random.key(0), x)["params"]
        >>> trainable(model, params)["backbone"]["conv1"]
        {'kernel': False}
    """
    backbone: Any = model.backbone
    info = backbone.feature_info[: backbone.frozen_stages]
    still = {"stem", *(name for name, _, _ in info)} if info else set()
    parts = backbone.parts

    def trains(path: Any, leaf: Any) -> bool:
        head, module, *_ = (key.key for key in path)
        return head != "backbone" or parts.get(module) not in still

    return jax.tree_util.tree_map_with_path(trains, params)
