"""What an exported program takes and gives: of a classifier, and of a detector."""

from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_flax import create_model
from prm_flax.detection import create_detector, detect, list_detectors
from prm_flax.interop.fold import Folded
from prm_flax.layers.device import portable
from train.export.weights import TrainedNetwork
from train.tasks.task import normalize

# Largest difference of logits, in standard deviations of them.
BOUND = 1e-5
# Largest difference of a box's score, and of its place in pixels.
SCORE_BOUND, PLACE_BOUND = 1e-4, 1e-2


class Interface(NamedTuple):
    """How programs of one kind of network are made and described.

    Attributes:
        function: (network, fold) -> a function of the arguments, weights inside.
        arguments: (b, network) -> shapes and dtypes of the arguments.
        draw: (generator, b, network) -> random arguments.
        difference: (got, want) -> what is wrong with a program's outputs, or "".
        describe: network -> what it takes and gives, in words for a file.
    """

    function: Callable[[TrainedNetwork, bool], Callable[..., Any]]
    arguments: Callable[[Any, TrainedNetwork], tuple[Any, ...]]
    draw: Callable[[np.random.Generator, int, TrainedNetwork], tuple[Any, ...]]
    difference: Callable[[Any, Any], str]
    describe: Callable[[TrainedNetwork], dict[str, Any]]


def interface_of(network: TrainedNetwork) -> Interface:
    """That of the network's kind."""
    detects = network.name in list_detectors()
    return INTERFACES["detector" if detects else "classifier"]


def logits_of(
    network: TrainedNetwork, fold: bool = False
) -> Callable[[jax.Array], Any]:
    """Images (b, h, w, c) uint8 -> logits (b, k), for any device; weights inside."""
    model = create_model(network.name, **network.options)
    run: Callable[..., Any] = (
        Folded(model, network.variables, network.image_shape)
        if fold
        else partial(model.apply, network.variables)
    )

    def logits(images):
        with portable():
            return run(normalize(images, network.mean, network.std))

    return jax.jit(logits)


def boxes_of(network: TrainedNetwork, fold: bool = False) -> Callable[..., Any]:
    """Images (b, h, w, c) uint8, sizes (b, 2) -> boxes, scores and labels by name.

    Raises:
        ValueError: fold, which is for classifiers.
    """
    if fold:
        raise ValueError(
            "batch norm is folded in classifiers; a detector is exported as it is. "
            "Leave the folding out."
        )
    model = create_detector(network.name, **network.options)

    def boxes(images, sizes):
        with portable():
            ready = normalize(images, network.mean, network.std)
            found = detect(model, network.variables, ready, sizes)
            return {n: getattr(found, n) for n in ("boxes", "scores", "labels")}

    return jax.jit(boxes)


def _image(b: Any, network: TrainedNetwork) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((b, *network.image_shape), jnp.uint8)


def _image_and_size(b: Any, network: TrainedNetwork) -> tuple[Any, ...]:
    return _image(b, network), jax.ShapeDtypeStruct((b, 2), jnp.int32)


def _noise(generator: np.random.Generator, b: int, network: TrainedNetwork) -> Any:
    return generator.integers(0, 256, (b, *network.image_shape), np.uint8)


def _noise_and_size(generator: np.random.Generator, b: int, network: TrainedNetwork):
    height, width, _ = network.image_shape
    sizes = generator.integers((height // 2, width // 2), (height + 1, width + 1))
    return _noise(generator, b, network), np.tile(sizes.astype(np.int32), (b, 1))


def _of_logits(got: Any, want: Any) -> str:
    want = np.asarray(want, np.float64)
    worst = np.abs(np.asarray(got, np.float64) - want).max()
    if worst <= BOUND * want.std():
        return ""
    return (
        f"an exported program must give the network's logits to {BOUND:g} of their "
        f"standard deviation {want.std():.3g}; they differ by {worst:.3g}"
    )


def _of_boxes(got: Any, want: Any) -> str:
    worst = {n: np.abs(np.asarray(got[n]) - want[n]).max() for n in want}
    if worst["scores"] <= SCORE_BOUND and worst["boxes"] <= PLACE_BOUND:
        return ""
    return (
        f"an exported program must give the network's scores to {SCORE_BOUND:g} and "
        f"its boxes to {PLACE_BOUND:g} pixels; they differ by {worst['scores']:.3g} "
        f"and {worst['boxes']:.3g}"
    )


def _describe_classifier(network: TrainedNetwork) -> dict[str, Any]:
    return {
        "input": {"shape": ["b", *network.image_shape], "dtype": "uint8"},
        "output": {"shape": ["b", len(network.class_names)], "meaning": "logits"},
    }


def _describe_detector(network: TrainedNetwork) -> dict[str, Any]:
    return {
        "input": {
            "images": {"shape": ["b", *network.image_shape], "dtype": "uint8"},
            "sizes": {"shape": ["b", 2], "dtype": "int32"},
            "meaning": "images padded with 0 at the bottom and at the right, and their "
            "rows and columns before",
        },
        "output": {
            "boxes": "b, n, 4: x1, y1, x2, y2, pixels; 0 where there is none",
            "scores": "b, n: best first; 0 where there is none",
            "labels": "b, n: numbers of class_names; -1 where there is none",
        },
    }


INTERFACES: MappingProxyType[str, Interface] = MappingProxyType(
    {
        "classifier": Interface(
            logits_of,
            lambda b, network: (_image(b, network),),
            lambda generator, b, network: (_noise(generator, b, network),),
            _of_logits,
            _describe_classifier,
        ),
        "detector": Interface(
            boxes_of, _image_and_size, _noise_and_size, _of_boxes, _describe_detector
        ),
    }
)
