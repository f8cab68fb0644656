"""Anchors: the boxes that a detector's outputs are relative to, as NumPy constants.

At every position of a level of stride s, centred on (column·s, row·s) without half a
pixel, stands one box for each ratio r = h/w and each scale::

    h = s · scale · √r,    w = s · scale / √r
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class AnchorRule(NamedTuple):
    """Which anchors stand at each position.

    Attributes:
        scales: sides of the square anchor, in strides of the level.
        ratios: height over width.
    """

    scales: tuple[float, ...]
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)

    @property
    def per_position(self) -> int:
        """Anchors at a position."""
        return len(self.scales) * len(self.ratios)


# Lin et al., ICCV 2017: three scales an octave, from four strides.
RETINANET = AnchorRule(tuple(4 * 2 ** (k / 3) for k in range(3)))
# Ren et al., NeurIPS 2015, on a pyramid: one scale a level.
RPN = AnchorRule((8.0,))


def base_anchors(rule: AnchorRule, stride: int) -> np.ndarray:
    """The anchors of the position (0, 0), ratios slowest.

    Example:
        >>> base_anchors(RPN, 4)[1].tolist()
        [-16.0, -16.0, 16.0, 16.0]
    """
    sides = [
        (stride * scale / math.sqrt(ratio), stride * scale * math.sqrt(ratio))
        for ratio in rule.ratios
        for scale in rule.scales
    ]
    w, h = np.array(sides).T / 2
    return np.stack([-w, -h, w, h], axis=-1)


def level_anchors(rule: AnchorRule, stride: int, size: tuple[int, int]) -> np.ndarray:
    """All anchors of a level, (h·w·count, 4): rows, columns, then base anchors.

    Args:
        rule: of the detector.
        stride: of the level, pixels.
        size: (h, w) of the level's map.
    """
    rows, columns = np.meshgrid(*(np.arange(n) * stride for n in size), indexing="ij")
    centres = np.stack([columns, rows, columns, rows], axis=-1)[..., None, :]
    return (centres + base_anchors(rule, stride)).reshape(-1, 4)


def all_anchors(
    rule: AnchorRule, strides: Sequence[int], sizes: Sequence[tuple[int, int]]
) -> np.ndarray:
    """The anchors of all levels, one after the other, (n, 4) float64."""
    pairs = zip(strides, sizes, strict=True)
    return np.concatenate([level_anchors(rule, *pair) for pair in pairs])
