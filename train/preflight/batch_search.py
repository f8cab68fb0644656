"""The largest batch that fits, from few compiles: memory grows with it in a line."""

from collections.abc import Callable
from typing import NamedTuple

# The rest is not for programs: a TPU's compiler keeps 0.25 GiB of a v5e's 16; a GPU
# also holds its driver's and its libraries' buffers.
USABLE = 0.95
# Of that, what a batch must take to be called the largest without looking further.
ENOUGH = 0.95
# Compiles after which what was found is good enough.
ATTEMPTS = 5


class Trial(NamedTuple):
    """A batch that was compiled.

    Attributes:
        batch: images of a device.
        needed: bytes of memory.
        fits: whether there are as many.
    """

    batch: int
    needed: int
    fits: bool


def search_batch(
    attempt: Callable[[int], Trial], first: Trial, memory: int, step: int, most: int
) -> int | None:
    """Two compiles give a line, a third confirms what it promises.

    The second takes half of what ought to fit: it compiles fast and gives a number,
    which a program far too large does not always do.

    Args:
        attempt: compiles for a batch.
        first: what was compiled already.
        memory: bytes there are.
        step: the batch must be a multiple of it.
        most: no larger batch makes sense.

    Returns:
        The largest batch that was seen to fit; None if none was.
    """
    usable = int(memory * USABLE)
    tried = {first.batch: first}
    batch = _second(first, usable, step)
    for _ in range(ATTEMPTS):
        if batch is None or batch in tried:
            break
        new = tried[batch] = attempt(batch)
        if len(tried) > 2 and new.fits and new.needed >= ENOUGH * usable:
            break
        batch = min(_next(tried, usable), most) // step * step or None
    return max((t.batch for t in tried.values() if t.fits), default=None)


def _second(first: Trial, usable: int, step: int) -> int | None:
    """Half of the first, or of its share that fits; None: there is no other."""
    half = first.batch * min(usable / first.needed, 1) / 2
    batch = max(int(half) // step * step, step)
    if batch != first.batch:
        return batch
    return 2 * step if first.fits else None


def _next(tried: dict[int, Trial], usable: int) -> int:
    """What a line through two promises; halfway to what broke such a promise."""
    fits = sorted(t for t in tried.values() if t.fits)
    fails = sorted(t for t in tried.values() if not t.fits)
    low, high = fits[-2:] if len(fits) > 1 else (fits + fails)[:2]
    slope = max((high.needed - low.needed) / (high.batch - low.batch), 1)
    promised = max(int(low.batch + (usable - low.needed) / slope), 0)
    if fits and fails and (len(fails) > 1 or promised >= fails[0].batch):
        return (fits[-1].batch + fails[0].batch) // 2
    return promised
