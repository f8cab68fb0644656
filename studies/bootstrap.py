"""Intervals of a statistic of test images, by drawing the images again."""

from collections.abc import Callable

import numpy as np

from studies.intervals import LEVEL, Interval

Statistic = Callable[..., float]


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
    random = np.random.default_rng(seed)

    def draw() -> float:
        chosen = random.integers(n, size=n)
        return statistic(*(array[chosen] for array in arrays))

    return _interval(float(statistic(*arrays)), draw, draws, level)


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
    random = np.random.default_rng(seed)

    def of(runs: np.ndarray, images: np.ndarray | slice) -> float:
        scores = [statistic(run[images], labels[images]) for run in runs]
        return float(np.mean(scores))

    def drawn(runs: np.ndarray) -> np.ndarray:
        if not resample_seeds:
            return runs
        return runs[random.integers(len(runs), size=len(runs))]

    def draw() -> float:
        chosen = random.integers(n, size=n)
        return of(drawn(ours), chosen) - of(drawn(theirs), chosen)

    everything = slice(None)
    return _interval(of(ours, everything) - of(theirs, everything), draw, draws, level)


def _images(arrays: tuple[np.ndarray, ...]) -> int:
    lengths = {len(array) for array in arrays}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            "arrays must have a row for each of the same images: got lengths "
            f"{[len(array) for array in arrays]}"
        )
    return lengths.pop()


def _interval(
    value: float, draw: Callable[[], float], draws: int, level: float
) -> Interval:
    if draws < 1 or not 0 < level < 1:
        raise ValueError(
            f"draws must be 1 or more and level between 0 and 1: got {draws} and "
            f"{level}"
        )
    found: list[float] = []
    refused = 0
    while len(found) < draws:
        try:
            found.append(draw())
        except ValueError:
            refused += 1
            # A rare class is missing now and then; a wrong statistic refuses all.
            if refused > draws + 100:
                raise
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))
