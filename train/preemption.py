"""SIGTERM and Ctrl-C: finish the step in flight, save, leave."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator

# jax is imported where it is needed: Ctrl-C is answered, and workers start, before it.
LINE = "stopped (Ctrl-C). A run goes on from its last checkpoint: the same command."

# What reaches all processes of a run.
SENT_TO_ALL = (signal.SIGINT, signal.SIGTERM)

# What is done before the process ends; see `train.distributed`.
before_leaving: list[Callable[[], object]] = []


def leave_on_ctrl_c() -> None:
    """From now on; in the main thread."""
    told, tells = os.pipe()
    os.set_blocking(tells, False)
    # A handler in Python has it written to the pipe, whatever this thread is doing.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    signal.set_wakeup_fd(tells, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(told,), name="Ctrl-C", daemon=True).start()


@contextlib.contextmanager
def keyboard_interrupts() -> Iterator[None]:
    """While inside, Ctrl-C is KeyboardInterrupt: there is something to put in order."""
    tells = signal.set_wakeup_fd(-1)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.set_wakeup_fd(tells)
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Processes started inside get neither Ctrl-C nor SIGTERM until they unblock them.

    A terminal sends Ctrl-C to all of them, also to one that cannot handle it yet.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SENT_TO_ALL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _watch(told: int) -> None:
    """Every signal that Python handles arrives here as a byte."""
    while os.read(told, 1) != bytes([signal.SIGINT]):
        pass
    for action in list(before_leaving):
        action()
    # Not print: the signal may have come inside of one.
    os.write(2, f"{LINE}\n".encode())
    os._exit(128 + signal.SIGINT)


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
        from jax.experimental import multihost_utils

        if multihost_utils.reached_preemption_sync_point(step):
            self.signal = self.signal or signal.SIGTERM
        return bool(self)


@contextlib.contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Notes SIGTERM and SIGINT instead of dying; a second one ends at once."""
    import jax

    if jax.process_count() > 1:
        with (
            keyboard_interrupts(),
            _handled((signal.SIGINT,), lambda number: _pass_on()),
        ):
            yield StopTogether()
        return
    stop = Stop()

    def note(number: int) -> None:
        stop.signal = number

    with keyboard_interrupts(), _handled((signal.SIGTERM, signal.SIGINT), note):
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
