"""Batches made by other processes, or by threads of this one: Grain does the work."""

import atexit
import contextlib
import ctypes
import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from multiprocessing import resource_tracker
from typing import Any

import grain
from absl import flags

from train.data.input import Batch, DataError
from train.preemption import SENT_TO_ALL, signals_blocked

# Linux, <sys/prctl.h>: the signal that a process gets when its parent is gone.
PR_SET_PDEATHSIG = 1
# Seconds that a worker outlives a SIGTERM that was meant for the whole run.
GRACE = 10.0
# Seconds that Grain takes to free what it shared with workers.
SETTLING = 0.3
THREADS = 16


def stream(
    example: Callable[[int], Any],
    places: range,
    batch_size: int,
    *,
    workers: int,
    prefetch: int,
) -> Generator[Batch]:
    """Batches of examples in the order of their places, however many workers.

    Args:
        example: place -> one example; picklable, light to import.
        places: of the first to the last example, a multiple of `batch_size`.
        batch_size: examples in a batch.
        workers: processes; 0 for threads of this process.
        prefetch: batches that each worker makes ahead.

    Yields:
        The examples of a batch, stacked. Closing the generator ends the workers.

    Raises:
        DataError: a worker died; what `example` raises is raised here.
    """
    made = grain.MapDataset.range(places.start, places.stop).map(example)
    threads = 1 if workers else min(THREADS, os.cpu_count() or 1)
    ahead = 1 if workers else max(threads, prefetch)
    batches = made.batch(batch_size).to_iter_dataset(grain.ReadOptions(threads, ahead))
    if workers:
        # Grain reads absl's flags, which only absl's own main parses.
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        options = grain.MultiprocessingOptions(workers, per_worker_buffer_size=prefetch)
        atexit.unregister(_settle)
        atexit.register(_settle)
        starter = _Starter(os.getpid())
        # Started with the first worker, it would undo what `signals_blocked` does.
        resource_tracker.ensure_running()
        batches = batches.mp_prefetch(options, worker_init_fn=starter)
    with contextlib.closing(iter(batches)) as iterator:
        yield from _guarded(iterator)


def check_shared_memory(needed: int, folder: str = "/dev/shm") -> None:
    """Refuse workers whose batches do not fit where they hand them over.

    A container often has 64 MB there. Whoever writes beyond it is killed.

    Args:
        needed: bytes of all batches made ahead.
        folder: where the system keeps shared memory.

    Raises:
        ValueError: there is less room.
    """
    if not os.path.isdir(folder):
        return
    room = os.statvfs(folder)
    free = room.f_bavail * room.f_frsize
    if needed > free:
        raise ValueError(
            f"workers hand batches over in shared memory, up to {needed:,} bytes: "
            f"{folder} has {free:,} left. Give the container more (--shm-size), or "
            "take fewer data.workers, a smaller data.prefetch, or data.workers 0, "
            "which decodes in threads."
        )


def _guarded(iterator: Iterator[Batch]) -> Generator[Batch]:
    while True:
        try:
            with signals_blocked():  # workers start when they are first asked
                batch = next(iterator)
        except StopIteration:
            return
        except RuntimeError as error:
            if "terminated unexpectedly" not in str(error):
                raise
            raise DataError(
                f"a worker process that decodes images died ({error}). Killed for want "
                "of memory? Try fewer data.workers or a smaller data.prefetch. The "
                "same command goes on from the last checkpoint."
            ) from error
        yield batch


class _Starter:
    """What a worker does first: it ends with its parent, and not before it.

    Args:
        parent: the process that starts it.
    """

    def __init__(self, parent: int):
        self.parent = parent

    def __call__(self, index: int, count: int) -> None:
        """Run in worker `index` of `count`."""
        # Ctrl-C and SIGTERM reach all processes of a run; the parent still needs
        # batches until it has saved, then it ends its workers itself.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, _end_later)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SENT_TO_ALL)
        # The kernel also sends it when only the thread that started us is gone.
        signal.signal(signal.SIGUSR2, self._end_if_orphan)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGUSR2)
        self._end_if_orphan()

    def _end_if_orphan(self, *_: Any) -> None:
        if os.getppid() != self.parent:
            os._exit(1)


def _end_later(*_: Any) -> None:
    timer = threading.Timer(GRACE, os._exit, (1,))
    timer.daemon = True
    timer.start()


def _settle() -> None:
    """Grain frees shared memory in a thread; a program that ends first is warned."""
    gc.collect()
    time.sleep(SETTLING)
