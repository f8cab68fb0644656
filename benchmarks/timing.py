"""Times of several ways to do a thing, in turn, in one process."""

import resource
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

from benchmarks.results import Row

WARM = 2  # rounds that compile, and fill caches


def alternate(
    ways: Mapping[str, Callable[[], Any]], rounds: int, calls: int = 1, parts: int = 1
) -> dict[str, Row]:
    """Runs all ways in turn, forth and back.

    Args:
        ways: name -> what to time; jax's arrays that it returns are waited for.
        rounds: that count.
        calls: of a way in a row, the last of which is waited for.
        parts: that a call does one after the other; the times are those of one.

    Returns:
        Of each way the median and the least seconds, the median of the processor's
        seconds in user mode, of all threads, and the median over the rounds of its
        seconds divided by the first way's of the same round.
    """
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(WARM + rounds):
        names = list(ways)[:: 1 if number % 2 else -1]
        for name in names:
            found = _timed(ways[name], calls, parts)
            if number >= WARM:
                taken[name].append(found)
    first = [wall for wall, _ in next(iter(taken.values()))]
    return {name: _summary(times, first) for name, times in taken.items()}


def _timed(run: Callable[[], Any], calls: int, parts: int) -> tuple[float, float]:
    user, start = _user_seconds(), time.perf_counter()
    for _ in range(calls - 1):
        run()
    jax.block_until_ready(run())
    wall, used = time.perf_counter() - start, _user_seconds() - user
    return wall / (calls * parts), used / (calls * parts)


def _user_seconds() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def _summary(times: list[tuple[float, float]], first: list[float]) -> Row:
    walls, users = zip(*times, strict=True)
    ratios = [wall / other for wall, other in zip(walls, first, strict=True)]
    return {
        "median_seconds": _seconds(statistics.median(walls)),
        "least_seconds": _seconds(min(walls)),
        "user_seconds": _seconds(statistics.median(users)),
        "ratio": round(statistics.median(ratios), 4),
    }


def _seconds(number: float) -> float:
    """Four digits."""
    return float(f"{number:.4g}")
