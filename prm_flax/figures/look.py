"""Everything that Figure 5 shows of one image, computed."""

from typing import NamedTuple

import numpy as np

from prm_flax.figures import maps
from prm_flax.figures.looks_plot import Looks
from prm_flax.figures.photo import Preparation, normalized
from prm_flax.figures.watch import stages_by_size
from prm_flax.figures.weights import Weights


class Seen(NamedTuple):
    """What a network says of an image, and where it looks.

    Attributes:
        probabilities: (k,) float64 of the classes.
        class_index: of the class that Grad-CAM is of.
        looks: what is drawn.
    """

    probabilities: np.ndarray
    class_index: int
    looks: Looks


def look(
    weights: Weights,
    pixels: np.ndarray,
    preparation: Preparation,
    class_index: int | None = None,
) -> Seen:
    """Runs a network on an image.

    The stages are those of one map size each, as in `maps.stage_queries`.

    Args:
        weights: the network.
        pixels: uint8 (h, w, c) of the input's size.
        preparation: its mean and std count here.
        class_index: of the class for Grad-CAM; None takes the most probable.

    Returns:
        What it sees; without query points and masks if the network has no PRM.

    Raises:
        ValueError: mean or std do not fit, or there is no such class.
    """
    model, variables = weights.model, weights.variables
    images = normalized(pixels, preparation)
    cam = maps.grad_cam(model, variables, images, class_index)
    queries, masks = {}, {}
    stages = stages_by_size(model, pixels.shape[:2]).values()
    if maps.has_prm(model, variables, images):
        queries = _first(maps.stage_queries(model, variables, images))
        masks = _first(maps.stage_masks(model, variables, images))
        stages = queries
    cams = {stage: cam.maps[stage][0] for stage in stages}
    looks = Looks(pixels, cams, queries, masks)
    return Seen(_softmax(cam.logits[0]), int(cam.classes[0]), looks)


def look_of_backbone(
    weights: Weights, pixels: np.ndarray, preparation: Preparation
) -> Looks:
    """What the backbone of a detector looks at, which has no classes for Grad-CAM.

    Args: as those of `look`.

    Raises:
        ValueError: it has no PRM, or mean or std do not fit.
    """
    given = weights.model, weights.variables, normalized(pixels, preparation)
    queries, masks = maps.stage_queries(*given), maps.stage_masks(*given)
    return Looks(pixels, {}, _first(queries), _first(masks))


def _first(by_stage: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {stage: values[0] for stage, values in by_stage.items()}


def _softmax(logits: np.ndarray) -> np.ndarray:
    logits = logits.astype(np.float64)
    shares = np.exp(logits - logits.max())
    return shares / shares.sum()
