"""What is finite in a training step, and what follows from that."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

# Images and arrays that a message lists.
SHOWN = 8


class Finite(NamedTuple):
    """What is finite in a training step.

    Attributes:
        state: path of each parameter and running statistic -> (), before the step.
        images: (b,) each prepared image.
        layers: name of each layer -> (b,) its output for each image.
        losses: (b,) each image's loss.
        statistics: path of each running statistic -> (), after the step.
        gradients: path of each parameter -> () its gradient.
        sources: (b,) the gradient of the loss by each prepared image.
    """

    state: dict[str, Any]
    images: Any
    layers: dict[str, Any]
    losses: Any
    statistics: dict[str, Any]
    gradients: dict[str, Any]
    sources: Any


def explain(finite: Finite, order: list[str]) -> tuple[str, np.ndarray]:
    """What went wrong first, and which images (b,) were all right there."""
    every = np.ones_like(finite.losses)
    if bad := _bad(finite.state):
        return f"not finite before it: {listed(bad)}", every
    loss = "finite" if finite.losses.all() else "not finite"
    if not finite.images.all():
        return f"the loss is {loss}; the prepared images are not finite", finite.images
    for name in order:
        if not (rows := finite.layers.get(name, every)).all():
            what = f"the loss is {loss}; first bad layer: {name or 'the network'}"
            return f"{what} (output)", _fewer(rows, finite.losses)
    if not finite.losses.all():
        return "the loss is not finite, the logits are", finite.losses
    if bad := _bad(finite.statistics):
        return f"the loss is finite; not finite: {listed(bad)}", every
    if bad := _bad(finite.gradients):
        last = max((path.rpartition("/")[0] for path in bad), key=_place_in(order))
        what = f"the loss is finite; first bad layer: {last} (gradient)"
        return what, finite.sources
    return (
        "loss and gradients are finite when they are computed again, so the update "
        "was too large (lower optim.peak_lr) or a device erred",
        every,
    )


def named(index: np.ndarray, bad: np.ndarray) -> str:
    """The part of a message that names the bad images, of those with numbers (b,)."""
    if not bad.any():
        return ""
    if bad.all():
        return f"; images: all {len(index)}"
    return f"; images: {listed([str(i) for i in index[bad]])}"


def _bad(finite: Mapping[str, Any]) -> list[str]:
    return [name for name, fine in finite.items() if not fine]


def _fewer(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of two (b,) the one with fewer bad images, but some.

    A bad image spoils the others of its batch-norm run from there on; a layer may be
    bad for all images, but the loss for those of one class only.
    """
    return other if one.sum() < other.sum() < len(other) else one


def _place_in(order: list[str]) -> Callable[[str], int]:
    places = {name: place for place, name in enumerate(order)}
    return lambda name: places.get(name, -1)


def listed(names: list[str]) -> str:
    """The first few names."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
