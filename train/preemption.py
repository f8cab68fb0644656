"""SIGTERM and Ctrl-C: finish the step in flight, save, leave."""

import contextlib
import os
import signal
from collections.abc import Iterator

import jax
from jax.experimental import multihost_utils

from train.leave import not_at_once


class Stop:
    """Whether a signal has asked the run to end.

    Attributes:
        signal: its number, 0 while none has come.
    """

    def __init__(self):
        self.signal = 0

    def __bool__(self) -> bool:
        return self.signal != 0

    def after(self, step: int) -> bool:
        """Whether the run ends after this step, asked once after each."""
        return bool(self)

    @property
    def exit_code(self) -> int:
        """128 + the signal, the shell's convention: 143 SIGTERM, 130 Ctrl-C."""
        return 128 + self.signal


class StopTogether(Stop):
    """The same for several processes: a signal to one ends all, after one step.

    SIGTERM is taken by jax, which tells the other processes and agrees with them on a
    step that none of them has passed.
    """

    def after(self, step: int) -> bool:
        """Whether the processes have agreed on this step."""
        if multihost_utils.reached_preemption_sync_point(step):
            self.signal = self.signal or signal.SIGTERM
        return bool(self)


@contextlib.contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Notes SIGTERM and SIGINT instead of dying; a second one ends at once."""
    if jax.process_count() > 1:
        with not_at_once(), _handled((signal.SIGINT,), lambda number: _pass_on()):
            yield StopTogether()
        return
    stop = Stop()

    def note(number: int) -> None:
        stop.signal = number

    with not_at_once(), _handled((signal.SIGTERM, signal.SIGINT), note):
        yield stop


def _pass_on() -> None:
    """Ctrl-C reaches one process: as SIGTERM it ends all."""
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def _handled(numbers, note) -> Iterator[None]:
    """Calls `note` with the first of the signals; a second acts as before."""
    before = {number: signal.getsignal(number) for number in numbers}

    def handle(number, frame):
        for each in numbers:
            signal.signal(each, before[each])
        note(number)

    for number in numbers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, before[number])
