"""How two maps of the same images agree, and how high places on a map are."""

from collections.abc import Sequence

import numpy as np
from scipy import stats


def ranks_at(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The mean rank of places on maps: the share of the map that is less.

    What is equal counts half, so that the mean over all places is 0.5.

    Args:
        values: (n, h, w).
        places: (n, g, 2) rows and columns.

    Returns:
        (n,) from 0 to 1; nan where a map is constant.

    Example:
        >>> ranks_at(np.array([[[1.0, 2.0], [3.0, 9.0]]]), np.array([[[1, 1]]]))
        array([0.875])
    """
    n, h, w = values.shape
    flat = values.reshape(n, h * w)
    ranks = (stats.rankdata(flat, axis=1) - 0.5) / (h * w)
    index = places[..., 0] * w + places[..., 1]
    found = np.take_along_axis(ranks, index, axis=1).mean(axis=1)
    return np.where(np.ptp(flat, axis=1) > 0, found, np.nan)


def block_means(values: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Means over blocks: (n, H, W) to (n, h, w), which must divide it.

    Raises:
        ValueError: it does not.
    """
    (n, height, width), (h, w) = values.shape, size
    if height % h or width % w:
        raise ValueError(
            f"maps of {h}x{w} must divide the image of {height}x{width}: train at a "
            "--data.image-size that the network's stride divides."
        )
    return values.reshape(n, h, height // h, w, width // w).mean((2, 4))


def correlations(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Pearson's, of each pair of maps (n, h, w); nan where one is constant."""
    a, b = (each.reshape(len(each), -1) for each in (ours, theirs))
    a, b = (each - each.mean(axis=1, keepdims=True) for each in (a, b))
    size = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.where(size > 0, (a * b).sum(axis=1) / np.where(size > 0, size, 1), np.nan)
