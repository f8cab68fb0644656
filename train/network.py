"""What a trained network is, apart from the run that trained it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Network(NamedTuple):
    """A network with its weights, and what its images and classes are.

    Attributes:
        name: as for `create_model`.
        options: its keywords, num_classes among them.
        variables: params and batch_stats.
        mean: of the normalisation, see `train.step.normalize`.
        std: of the normalisation.
        image_shape: (h, w, c).
        class_names: in the order of the logits.
    """

    name: str
    options: Mapping[str, Any]
    variables: Mapping[str, Any]
    mean: Sequence[float]
    std: Sequence[float]
    image_shape: tuple[int, int, int]
    class_names: Sequence[str]
