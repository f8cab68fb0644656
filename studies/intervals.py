"""Means and paired differences over seeds, with Student's intervals."""

import math
import statistics
import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from scipy import stats

LEVEL = 0.95


class Interval(NamedTuple):
    """A figure and where it may lie.

    Attributes:
        value: of what was seen.
        low: lower end of the interval.
        high: upper end.
    """

    value: float
    low: float
    high: float


def deviation(values: Sequence[float]) -> float:
    """Standard deviation of a sample, with n − 1; nan of fewer than two values."""
    return statistics.stdev(values) if len(values) > 1 else math.nan


def mean_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    r"""Student's interval of a mean.

    $$\bar v \pm t_{n-1}\,\frac{s}{\sqrt n}$$

    Args:
        values: independent and about normal; one or more.
        level: share of such intervals that cover the true mean.

    Returns:
        Its ends are infinite for a single value.

    Example:
        >>> low, high = mean_interval([1.0, 2.0, 3.0])[1:]
        >>> round(low, 2), round(high, 2)
        (-0.48, 4.48)
    """
    mean, count = statistics.fmean(values), len(values)
    if count == 1:
        return Interval(mean, -math.inf, math.inf)
    with warnings.catch_warnings():
        # Of equal values: no p-value, but an interval of no width.
        warnings.simplefilter("ignore", RuntimeWarning)
        found = stats.ttest_1samp(values, 0.0)
    low, high = found.confidence_interval(level)
    return Interval(mean, float(low), float(high))


def paired(
    ours: Mapping[int, float], theirs: Mapping[int, float], level: float = LEVEL
) -> Interval | None:
    """The mean of the differences of runs of the same seed, with its interval.

    Args:
        ours: seed -> figure.
        theirs: the same of what it is compared with.
        level: as in `mean_interval`.

    Returns:
        Over the seeds that both have; None if there is none.
    """
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return None
    return mean_interval([ours[seed] - theirs[seed] for seed in seeds], level)


def signed(value: float) -> str:
    """A number with its sign.

    Example:
        >>> signed(-0.5)
        '−0.50'
    """
    return f"{value:+.2f}".replace("-", "−")
