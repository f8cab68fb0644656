"""Ctrl-C while nothing is at stake: the process ends at once, with a line, code 130.

Python would raise KeyboardInterrupt wherever it is: inside an import or a callback of a
library that prints it and goes on, and not before a compiler or a wait in C++ returns.
So a thread waits for the signal.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator

LINE = "stopped (Ctrl-C). A run goes on from its last checkpoint: the same command."

# What reaches all processes of a run.
SENT_TO_ALL = (signal.SIGINT, signal.SIGTERM)

# What is done before the process ends; see last_words.py.
farewells: list[Callable[[], object]] = []


def leave_on_ctrl_c() -> None:
    """From now on; in the main thread."""
    told, tells = os.pipe()
    os.set_blocking(tells, False)
    # A handler in Python has it written to the pipe, whatever this thread is doing.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    signal.set_wakeup_fd(tells, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(told,), name="Ctrl-C", daemon=True).start()


@contextlib.contextmanager
def not_at_once() -> Iterator[None]:
    """While inside, Ctrl-C is KeyboardInterrupt: there is something to put in order."""
    tells = signal.set_wakeup_fd(-1)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.set_wakeup_fd(tells)
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def unheard() -> Iterator[None]:
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
    for farewell in list(farewells):
        farewell()
    # Not print: the signal may have come inside of one.
    os.write(2, f"{LINE}\n".encode())
    os._exit(128 + signal.SIGINT)
