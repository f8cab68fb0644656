"""Batches on the devices ahead of their use, and how long the loop waited for them."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Any

from train.data.input import Batch


class Feed:
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
