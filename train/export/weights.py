"""What a trained network is, apart from the run that trained it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from prm_flax.interop import safetensors
from prm_flax.interop.safetensors import About, Preprocessing


class TrainedNetwork(NamedTuple):
    """A network with its weights, and what its images and classes are.

    Attributes:
        name: as for `create_model`.
        options: its keywords, num_classes among them.
        variables: params and batch_stats.
        mean: of the normalisation, see `train.tasks.task.normalize`.
        std: of the normalisation.
        image_shape: (h, w, c).
        class_names: in the order of the logits.
        resize: the shorter side of an image file, before the centre is cut out.
    """

    name: str
    options: Mapping[str, Any]
    variables: Mapping[str, Any]
    mean: Sequence[float]
    std: Sequence[float]
    image_shape: tuple[int, int, int]
    class_names: Sequence[str]
    resize: int = 0

    @property
    def about(self) -> About:
        """What a file of the weights says of inputs and outputs."""
        return About(
            tuple(self.class_names),
            Preprocessing(
                tuple(self.mean), tuple(self.std), self.image_shape, self.resize
            ),
        )


def save_weights(network: TrainedNetwork, path: Path) -> None:
    """Writes a network's weights, and what its inputs and outputs mean, into a file."""
    safetensors.save(
        path, network.name, network.options, network.variables, network.about
    )
