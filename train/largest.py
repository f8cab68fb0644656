"""The largest batch that fits, from few compiles: memory grows with it in a line."""

from collections.abc import Callable
from typing import NamedTuple

# Compilers keep some of the memory to themselves: 0.25 GiB of 16 on a TPU v5e.
USABLE = 0.975
# Compiles after which what was found is good enough.
ATTEMPTS = 5


class Tried(NamedTuple):
    """A batch that was compiled.

    Attributes:
        batch: images of a device.
        needed: bytes of memory.
        fits: whether there are as many.
    """

    batch: int
    needed: int
    fits: bool


def largest(
    attempt: Callable[[int], Tried], first: Tried, memory: int, step: int, most: int
) -> int | None:
    """Two compiles give a line, a third confirms what it promises.

    Args:
        attempt: compiles for a batch.
        first: what was compiled already.
        memory: bytes there are.
        step: the batch must be a multiple of it.
        most: no larger batch makes sense.

    Returns:
        The largest batch that was seen to fit; None if none was.
    """
    tried = {first.batch: first}
    batch = max(first.batch // 2 // step * step, step)
    if batch == first.batch:
        batch = 2 * step if first.fits else None
    for _ in range(ATTEMPTS):
        if batch is None or batch in tried:
            break
        tried[batch] = attempt(batch)
        if len(tried) > 2 and all(t.fits for t in tried.values()):
            break  # what the line promised is confirmed
        low, high = _bracket(tried)
        promised = min(_promised(low, high, int(memory * USABLE)), most)
        batch = promised // step * step or None
    return max((t.batch for t in tried.values() if t.fits), default=None)


def _bracket(tried: dict[int, Tried]) -> tuple[Tried, Tried]:
    """The two that the answer is between, or is nearest to."""
    ordered = sorted(tried.values())
    fitting = sum(t.fits for t in ordered)
    low = min(max(fitting - 1, 0), len(ordered) - 2)
    return ordered[low], ordered[low + 1]


def _promised(low: Tried, high: Tried, memory: int) -> int:
    """The largest batch that the line through both puts into memory; 0 for none."""
    slope = max((high.needed - low.needed) / (high.batch - low.batch), 1)
    return max(int(low.batch + (memory - low.needed) / slope), 0)
