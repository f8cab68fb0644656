"""The detectors' golden files: `tests/golden/README.md`, section 7."""

import functools
import json
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from support.golden import Golden, by_rule, load, normal, to_nhwc

from prm_flax.detection import Targets, create_detector, pad_targets
from prm_flax.detection.dense import DenseOutputs

DETECTORS = {"retinanet": "retinanet", "cascade": "cascade_rcnn"}
# Part of a name -> what its convolutions and dense layers are multiplied by.
_FACTORS = {
    "neck.lateral_convs.": 0.1,
    "neck.fpn_convs.": 0.7,
    "bbox_head.retina_cls.": 0.4,
    "bbox_head.retina_reg.": 0.15,
    "rpn_head.rpn_cls.": 0.5,
    "rpn_head.rpn_reg.": 0.1,
    ".fc_cls.": 0.6,
    ".fc_reg.": 0.3,
}


def detector(name: str, **options: Any) -> nn.Module:
    """The network of a file, with the official code's σ."""
    meta = load(name).meta
    if meta["network"].startswith("prm_"):
        options["ddof"] = meta["prm_ddof"]
    return create_detector(
        f"{DETECTORS[meta['detector']]}_{meta['network']}", **options
    )


@functools.cache
def state_dict(name: str) -> dict[str, np.ndarray]:
    """The parameters of a file, by meta.rule, float32."""
    file = load(name)
    shapes = zip(file.arrays["names"], file.arrays["shapes"], strict=True)
    salt = file.meta["salt"]
    return {str(n): _parameter(str(n), json.loads(s), salt) for n, s in shapes}


def _parameter(name: str, shape: list[int], salt: str) -> np.ndarray:
    n = functools.partial(normal, salt + name)
    if name.endswith(".bn3.weight"):
        return (0.5 + 0.05 * n(shape)).astype(np.float32)
    if name == "bbox_head.retina_cls.bias":
        return (-2 + 0.1 * n(shape)).astype(np.float32)
    if len(shape) not in (2, 4) or ".prm." in name:
        return by_rule(name, shape, salt)
    value = n(shape) * np.sqrt(2 / np.prod(shape[1:]))
    return (_factor(name, shape) * value).astype(np.float32)


def _factor(name: str, shape: list[int]) -> float:
    if name.startswith("neck.fpn_convs.") and shape[1] == 2048:
        return 0.1
    found = [factor for part, factor in _FACTORS.items() if part in name]
    return found[0] if found else 1.0


def of_images(file: Golden, prefix: str) -> list[np.ndarray]:
    """prefix/image0, prefix/image1, …."""
    found = file.under(prefix)
    return [found[f"image{i}"] for i in range(len(found))]


def targets(file: Golden, places: int = 6) -> Targets:
    """The ground truth, its boxes in float64."""
    boxes, labels = (of_images(file, f"gt_{each}") for each in ("boxes", "labels"))
    padded = pad_targets(boxes, labels, max(places, *map(len, boxes)))
    wide = np.zeros(padded.boxes.shape)
    for i, own in enumerate(boxes):
        wide[i, : len(own)] = own
    return Targets(*map(jnp.asarray, padded._replace(boxes=wide)))


def dense_outputs(file: Golden, classes: int) -> DenseOutputs:
    """Raw outputs cls/levelK and reg/levelK, (b, anchors·n, h, w) there."""

    def maps(prefix: str, n: int) -> tuple[Any, ...]:
        found = file.under(prefix)
        levels = (to_nhwc(found[f"level{k}"]) for k in range(len(found)))
        return tuple(
            jnp.asarray(x.reshape(*x.shape[:3], -1, n), jnp.float64) for x in levels
        )

    return DenseOutputs(maps("cls", classes), maps("reg", 4))
