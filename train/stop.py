"""SIGTERM and Ctrl-C: finish the step in flight, save, leave."""

import contextlib
import signal
from collections.abc import Iterator


class Stop:
    """Whether a signal has asked the run to end.

    Attributes:
        signal: its number, 0 while none has come.
    """

    def __init__(self):
        self.signal = 0

    def __bool__(self) -> bool:
        return self.signal != 0

    @property
    def exit_code(self) -> int:
        """128 + the signal, the shell's convention: 143 SIGTERM, 130 Ctrl-C."""
        return 128 + self.signal


@contextlib.contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Notes SIGTERM and SIGINT instead of dying; a second one ends at once."""
    stop = Stop()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}

    def note(number, frame):
        stop.signal = number
        for each in numbers:
            signal.signal(each, before[each])

    for number in numbers:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number in numbers:
            signal.signal(number, before[number])
