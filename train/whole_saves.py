"""Orbax's saves end when all that they began has: none of it writes on after an error.

Orbax runs each part of a save in an event loop of its own. The first array that cannot
be written ends that loop, while the others are still on their way to the disk, and the
first part that fails ends the wait for the rest.
"""

import asyncio
import contextlib
import importlib
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

# Where Orbax runs a part of a save; no option leads there.
MODULE, FUNCTION = "orbax.checkpoint._src.asyncio_utils", "_run_sync_via_new_loop"

Value = TypeVar("Value")


def run_to_the_end(work: Coroutine[Any, Any, Value]) -> Value:
    """Runs it in a new event loop, which is closed when all of its tasks have ended."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(work)
    finally:
        rest = asyncio.gather(*asyncio.all_tasks(loop), return_exceptions=True)
        loop.run_until_complete(_both(rest, loop.shutdown_default_executor()))
        asyncio.set_event_loop(None)
        loop.close()


async def _both(tasks: Any, threads: Any) -> None:
    await tasks
    await threads


def install() -> None:
    """Makes Orbax use it.

    A version without this place goes on as it is: its threads are waited for all the
    same, and a folder in which a file appears late is removed again, by `steps.remove`.
    """
    with contextlib.suppress(ImportError):
        module = importlib.import_module(MODULE)
        if hasattr(module, FUNCTION):
            setattr(module, FUNCTION, run_to_the_end)


def wait_for_threads() -> None:
    """Waits for the threads in which Orbax writes."""
    for thread in threading.enumerate():
        if type(thread).__module__.startswith("orbax."):
            # Its own join raises what happened in it, which is known.
            threading.Thread.join(thread)
