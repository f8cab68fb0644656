"""What a kernel is told, and what it takes and gives besides the parameters."""

from typing import Any, NamedTuple

import jax

from prm_flax.layers.norm import Affine


class Options(NamedTuple):
    """The keywords of `recalibrate`, hashable, and what follows it.

    Attributes:
        similarity: "dot", "l1" or "cosine".
        ddof: 0 or 1.
        position: whether there is a position encoding.
        normalize: whether the scores are normalised.
        relu: whether a ReLU is the last step.
    """

    similarity: str = "dot"
    ddof: int = 0
    position: bool = True
    normalize: bool = True
    relu: bool = False

    def keywords(self) -> dict[str, Any]:
        """Those of `recalibrate`."""
        return {name: value for name, value in self._asdict().items() if name != "relu"}


class Branch(NamedTuple):
    """The end of a residual branch: y = relu(PRM(affine(features)) + identity).

    Attributes:
        features: (b, h, w, C).
        affine: or None, where x is the features.
        identity: (b, h, w, C), or None for 0.
    """

    features: jax.Array
    affine: Affine | None = None
    identity: jax.Array | None = None


class Cotangents(NamedTuple):
    """The cotangents of a branch's features and affine, and of the parameters."""

    features: jax.Array
    affine: Affine | None
    params: Any
