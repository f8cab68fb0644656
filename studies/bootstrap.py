"""Intervals of a statistic of test images, by drawing the images again."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from studies.intervals import LEVEL, Interval

Statistic = Callable[..., float]

# Draws of images that a statistic refuses, one after the other, before its error is
# raised: a rare class is missing now and then; a wrong statistic refuses all.
REFUSED = 100
# Draws at a time: their numbers of images are held together.
BATCH = 100


def bootstrap(
    statistic: Statistic,
    *arrays: np.ndarray,
    draws: int = 10_000,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """The percentile interval of a statistic over the choice of test images.

    Images are drawn with replacement, as many as there are. The network stays: the
    interval covers what other test images of the same kind would have shown of it, not
    what another training would have.

    Args:
        statistic: takes the arrays, gives a number; of a draw that it cannot take
            (ValueError: a class is missing) another is drawn.
        arrays: each (n, …), with an image a row.
        draws: how many.
        seed: of the draws.
        level: share of the draws within the interval.

    Raises:
        ValueError: the arrays are of different lengths, or draws or level are no such.

    Example:
        >>> found = bootstrap(lambda x: x.mean(), np.arange(100.0), draws=1000)
        >>> found.low < found.value == 49.5 < found.high
        True

    Reference: Efron, Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    n = _images(arrays)

    def of(images: np.ndarray) -> float:
        return statistic(*(array[images] for array in arrays))

    return _interval(float(statistic(*arrays)), of, n, (), draws, seed, level)


def paired_bootstrap(
    statistic: Statistic,
    ours: np.ndarray,
    theirs: np.ndarray,
    labels: np.ndarray,
    draws: int = 10_000,
    seed: int = 0,
    level: float = LEVEL,
    resample_seeds: bool = True,
) -> Interval:
    """The interval of the difference of two networks on the same test images.

    The value is mean over seeds of statistic(ours, labels) less that of theirs. Both
    networks get the same images of every draw, which removes what makes an image hard
    for both. With several seeds the runs are drawn, too, of each network on its own, as
    run 1 of one has nothing to do with run 1 of the other: the interval then covers
    other test images and other trainings. Few seeds make it too narrow: the n runs
    drawn vary by (n - 1)/n of what runs vary by.

    Args:
        statistic: (scores, labels) -> number.
        ours: scores (seeds, n), or (n,) of one run.
        theirs: scores (seeds, n) of the same images; seeds may be of another number.
        labels: (n,).
        draws: how many.
        seed: of the draws.
        level: share of the draws within the interval.
        resample_seeds: False holds the runs fixed and draws images alone.

    Raises:
        ValueError: the arrays are not of the same images, or draws or level are no
            such.

    Example:
        >>> from studies.scores import accuracy
        >>> labels = np.arange(200) % 2
        >>> found = paired_bootstrap(accuracy, labels, 1 - labels, labels, draws=100)
        >>> (found.value, found.low, found.high)
        (1.0, 1.0, 1.0)
    """
    ours, theirs = np.atleast_2d(ours), np.atleast_2d(theirs)
    n = _images((ours.T, theirs.T, labels))

    def mean(runs: np.ndarray, images: np.ndarray) -> float:
        return float(np.mean([statistic(run[images], labels[images]) for run in runs]))

    def difference(images, us=slice(None), them=slice(None)) -> float:
        return mean(ours[us], images) - mean(theirs[them], images)

    value = difference(np.arange(n))
    runs = (len(ours), len(theirs)) if resample_seeds else ()
    return _interval(value, difference, n, runs, draws, seed, level)


def _images(arrays: tuple[np.ndarray, ...]) -> int:
    lengths = {len(array) for array in arrays}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            "arrays must have a row for each of the same images: got lengths "
            f"{[len(array) for array in arrays]}"
        )
    return lengths.pop()


def _interval(
    value: float,
    statistic: Callable[..., float],
    images: int,
    runs: Sequence[int],
    draws: int,
    seed: int,
    level: float,
) -> Interval:
    """The percentile interval over draws of indices.

    Args:
        value: of all images and runs.
        statistic: takes the indices of images, then those of each network's runs.
        images: how many there are.
        runs: of each network; none to hold the runs fixed.
        draws: how many.
        seed: of the draws.
        level: share of the draws within the interval.
    """
    if draws < 1 or not 0 < level < 1:
        raise ValueError(
            f"draws must be 1 or more and level between 0 and 1: got {draws} and "
            f"{level}"
        )
    random = np.random.default_rng(seed)

    def redrawn(chosen: np.ndarray, *others: np.ndarray) -> float:
        for _ in range(REFUSED):
            try:
                return statistic(chosen, *others)
            except ValueError:
                chosen = random.integers(images, size=images)
        return statistic(chosen, *others)

    # scipy draws nothing from a sample of one: two alike are drawn from like one.
    samples = [np.arange(max(n, 2)) % n for n in (images, *runs)]
    found = stats.bootstrap(
        samples,
        redrawn,
        n_resamples=draws,
        batch=BATCH,
        vectorized=False,
        confidence_level=level,
        method="percentile",
        rng=random,
    )
    low, high = found.confidence_interval
    return Interval(value, float(low), float(high))
