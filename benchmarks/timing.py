"""Times of several ways to do a thing, in turn, in one process."""

import resource
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

from benchmarks.results import Row

WARM = 2  # rounds that compile, and fill caches


def alternate(ways: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, Row]:
    """Runs all ways in turn, forth and back.

    Args:
        ways: name -> what to time; jax's arrays that it returns are waited for.
        rounds: that count.

    Returns:
        Of each way the median and the least seconds, the median of the processor's
        seconds in user mode, of all threads, and the median over the rounds of its
        seconds divided by the first way's of the same round.
    """
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(WARM + rounds):
        names = list(ways)[:: 1 if number % 2 else -1]
        for name in names:
            found = _timed(ways[name])
            if number >= WARM:
                taken[name].append(found)
    first = [wall for wall, _ in next(iter(taken.values()))]
    return {name: _summary(times, first) for name, times in taken.items()}


def _timed(run: Callable[[], Any]) -> tuple[float, float]:
    user, start = _user_seconds(), time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start, _user_seconds() - user


def _user_seconds() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def _summary(times: list[tuple[float, float]], first: list[float]) -> Row:
    walls, users = zip(*times, strict=True)
    ratios = [wall / other for wall, other in zip(walls, first, strict=True)]
    return {
        "median_seconds": round(statistics.median(walls), 5),
        "least_seconds": round(min(walls), 5),
        "user_seconds": round(statistics.median(users), 5),
        "ratio": round(statistics.median(ratios), 4),
    }
