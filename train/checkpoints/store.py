"""One step's folder, written and read by Orbax: the only place that knows it."""

import asyncio
import contextlib
import importlib
import logging
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import orbax.checkpoint as ocp
from etils import epath

from train.checkpoints.leaves import differences
from train.state import TrainState

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


def install_run_to_the_end() -> None:
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


class CheckpointError(RuntimeError):
    """A save did not happen, or what is saved does not fit."""


class Store:
    """Writes states while training goes on, and reads them."""

    def __init__(self):
        # Orbax warns of what is asked for here, and prints what it also raises: of a
        # full disk a line for every array.
        for name in ("absl", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        install_run_to_the_end()
        self.orbax = ocp.AsyncCheckpointer(
            ocp.CompositeCheckpointHandler(
                state=ocp.StandardCheckpointHandler(), notes=ocp.JsonCheckpointHandler()
            ),
            # If they cannot be made, its threads would wait for them for minutes.
            async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
        )

    def write(self, folder: epath.Path, state: TrainState, notes: Any) -> None:
        """Starts to write; the folder appears when all is in it.

        What is written are the arrays as they are now: on an accelerator Orbax copies
        them before it returns; on a CPU, where it need not, XLA copies what a later
        step would overwrite.
        """
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state), notes=ocp.args.JsonSave(notes)
        )
        try:
            self.orbax.save(folder, args=items)
        except Exception:
            wait_for_threads()
            raise

    def wait(self) -> None:
        """Waits until all is written or has failed; raises what went wrong first."""
        try:
            self.orbax.wait_until_finished()
        finally:
            wait_for_threads()

    def read(self, folder: epath.Path, like: TrainState) -> tuple[TrainState, Any]:
        """The state and its notes.

        Raises:
            CheckpointError: the arrays are not of these names, shapes and dtypes.
        """
        # Orbax casts dtypes in silence; compare with what it says it has.
        saved = self.orbax.metadata(folder).item_metadata
        lines = differences(saved["state"], like)  # pyright: ignore[reportOptionalSubscript]
        if lines:
            raise CheckpointError(
                f"{folder} is of another network or optimiser:\n{lines}\nUse the "
                "config it was trained with, or another --workdir."
            )
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(like), notes=ocp.args.JsonRestore()
        )
        try:
            restored = self.orbax.restore(folder, args=items)
        except Exception as error:
            raise CheckpointError(f"{folder} could not be read: {error}") from error
        return restored["state"], restored["notes"]

    def close(self) -> None:
        """Ends the threads, each after its last file; a failure was raised before."""
        with contextlib.suppress(Exception):
            self.wait()
        try:
            self.orbax.close()
        finally:
            wait_for_threads()
