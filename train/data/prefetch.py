"""Batches made ahead, and on the devices ahead of their use."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from train.data.input import Batch

T = TypeVar("T")


def prefetch(
    make: Callable[[int], T], start: int, stop: int, depth: int = 2
) -> Generator[T]:
    """Make batches in a background thread, ahead of their use and in order.

    Args:
        make: the batch of a step, such as a `TrainBatches`.
        start: the first step.
        stop: the step after the last.
        depth: how many batches may wait.

    Yields:
        make(start), ..., make(stop - 1). What `make` raises is raised here, at the
        step it belongs to; closing or dropping the generator ends the thread.

    Raises:
        ValueError: `depth` is not positive.
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1: got {depth}")
    pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    try:
        ahead = deque(
            pool.submit(make, s) for s in range(start, min(start + depth, stop))
        )
        for step in range(start, stop):
            batch = ahead.popleft().result()
            if step + depth < stop:
                ahead.append(pool.submit(make, step + depth))
            yield batch
    finally:
        # Without waiting: the consumer may be leaving because of an error.
        pool.shutdown(wait=False, cancel_futures=True)


class DevicePrefetch:
    """Takes batches to the devices ahead of the step that uses them.

    While the devices compute a step, the next step's images travel (double
    buffering): `put` returns before the copy is done.

    Args:
        batches: on the host.
        put: starts the copy of a batch to the devices.
        ahead: batches on their way while one is in use.
    """

    def __init__(
        self, batches: Generator[Batch], put: Callable[[Batch], Any], ahead: int = 1
    ):
        self._batches, self._put, self._ahead = batches, put, ahead
        self._placed: deque[Any] = deque()
        self._waited = 0.0

    def __iter__(self) -> Iterator[Any]:
        """The batches, on the devices, in order."""
        while True:
            while len(self._placed) <= self._ahead:
                if (batch := self._next()) is None:
                    break
                self._placed.append(self._put(batch))
            if not self._placed:
                return
            yield self._placed.popleft()

    def close(self) -> None:
        """Lets go of the batches on their way, and ends whatever makes them."""
        self._placed.clear()
        self._batches.close()

    def take_waited(self) -> float:
        """Seconds that the loop stood still for want of a batch since the last call."""
        waited, self._waited = self._waited, 0.0
        return waited

    def _next(self) -> Batch | None:
        began = time.perf_counter()
        batch = next(self._batches, None)
        self._waited += time.perf_counter() - began
        return batch
