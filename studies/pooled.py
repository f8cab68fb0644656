"""One interval for all differences of a study, from the scatter of all its runs."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from studies.intervals import LEVEL, signed

# Case -> seed -> figure.
Figures = Mapping[str, Mapping[int, float]]


class Pooled(NamedTuple):
    """What the scatter of all runs says of a difference of two cases.

    Attributes:
        cases: names of those that have all seeds.
        seeds: that all of them have.
        deviation: of one run, without what its case and its seed explain.
        freedom: degrees of freedom of `deviation`.
        half: of the interval of a difference of two cases' means.
    """

    cases: tuple[str, ...]
    seeds: tuple[int, ...]
    deviation: float
    freedom: int
    half: float


def pooled(figures: Figures, against: str, level: float = LEVEL) -> Pooled | None:
    r"""Two-way analysis of variance: case and seed add up, all runs scatter alike.

    With k cases and n seeds, and r what is left of a figure without the means of its
    case and of its seed,

    $$s^2 = \frac{\sum r^2}{(k - 1)(n - 1)}, \qquad
      \bar v_a - \bar v_b \pm t_{(k-1)(n-1)}\, s \sqrt{2 / n}$$

    A difference's own interval (`studies.intervals.paired`) needs no such assumption,
    but knows the scatter from n figures alone.

    Args:
        figures: of the runs.
        against: the case whose seeds are used; cases without one of them are not.
        level: share of such intervals that cover the true difference.

    Returns:
        None with fewer than two cases or seeds.
    """
    seeds = tuple(sorted(figures.get(against, {})))
    cases = tuple(name for name, found in figures.items() if found.keys() >= {*seeds})
    if len(cases) < 2 or len(seeds) < 2:
        return None
    values = np.array([[figures[name][seed] for seed in seeds] for name in cases])
    means = values.mean(1, keepdims=True) + values.mean(0) - values.mean()
    freedom = (len(cases) - 1) * (len(seeds) - 1)
    deviation = math.sqrt(((values - means) ** 2).sum() / freedom)
    quantile = float(stats.t.ppf((1 + level) / 2, freedom))
    half = quantile * deviation * math.sqrt(2 / len(seeds))
    return Pooled(cases, seeds, deviation, freedom, half)


def significant(
    figures: Figures, found: Pooled, against: str
) -> list[tuple[str, float]]:
    """The cases whose difference from one is larger than the interval's half.

    Args:
        figures: those that `found` is of.
        found: of `pooled`.
        against: the case.
    """
    means = {name: _mean(figures[name], found.seeds) for name in found.cases}
    differences = {name: mean - means[against] for name, mean in means.items()}
    return [(name, d) for name, d in differences.items() if abs(d) > found.half]


def _mean(figures: Mapping[int, float], seeds: Sequence[int]) -> float:
    return statistics.fmean(figures[seed] for seed in seeds)


def summary(figures: Figures, against: str) -> str:
    """`pooled` and `significant` in a paragraph; empty if there are too few runs.

    Args:
        figures: in percent.
        against: the case that the others are compared with.
    """
    found = pooled(figures, against)
    if found is None:
        return ""
    far = [f"{name} {signed(d)}" for name, d in significant(figures, found, against)]
    return (
        f"If the runs of all cases scatter alike ({len(found.cases)} cases of "
        f"{len(found.seeds)} seeds, {found.freedom} degrees of freedom), a run's "
        f"standard deviation is {found.deviation:.2f} and the interval of a difference "
        f"of two cases ± {found.half:.2f}. Farther than that from {against}: "
        f"{', '.join(far) or 'none'}."
    )
