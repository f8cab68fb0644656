"""What a kernel is told besides its arrays."""

from typing import NamedTuple


class Options(NamedTuple):
    """The keywords of `recalibrate`, hashable.

    Attributes:
        similarity: "dot", "l1" or "cosine".
        ddof: 0 or 1.
        position: whether there is a position encoding.
        normalize: whether the scores are normalised.
    """

    similarity: str = "dot"
    ddof: int = 0
    position: bool = True
    normalize: bool = True
