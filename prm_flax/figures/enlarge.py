"""Maps brought to the size of an image, and to a scale from 0 to 1."""

import numpy as np
from numpy.typing import ArrayLike


def enlarged(maps: ArrayLike, size: tuple[int, int]) -> np.ndarray:
    """Interpolates maps bilinearly, pixels' middles at half numbers.

    Output pixel i of n lies at (i + ½) · m / n - ½ of the map's m; what lies outside
    its first and last middle has their value.

    Args:
        maps: (..., h, w).
        size: (height, width) of the result.

    Returns:
        (..., height, width) float64.

    Example:
        >>> enlarged([[0.0, 4.0]], (1, 4)).tolist()
        [[0.0, 1.0, 3.0, 4.0]]
    """
    maps = np.asarray(maps, np.float64)
    rows, columns = (_weights(m, n) for m, n in zip(maps.shape[-2:], size, strict=True))
    return rows @ maps @ columns.T


def _weights(m: int, n: int) -> np.ndarray:
    """(n, m): the shares of the m old values in each of the n new ones."""
    places = (np.arange(n) + 0.5) * m / n - 0.5
    return np.stack([np.interp(places, np.arange(m), e) for e in np.eye(m)], axis=1)


def in_unit_range(maps: ArrayLike) -> np.ndarray:
    """Scales each map so that its least value is 0 and its largest 1.

    Args:
        maps: (..., h, w).

    Returns:
        (..., h, w) float64; 0 where a map is constant.

    Example:
        >>> in_unit_range([[[1.0, 3.0, 2.0]], [[7.0, 7.0, 7.0]]]).tolist()
        [[[0.0, 1.0, 0.5]], [[0.0, 0.0, 0.0]]]
    """
    maps = np.asarray(maps, np.float64)
    low = maps.min((-2, -1), keepdims=True)
    spread = maps.max((-2, -1), keepdims=True) - low
    return (maps - low) / np.where(spread > 0, spread, 1.0)
