"""One step's folder, written and read by Orbax: the only place that knows it."""

import contextlib
import logging
from typing import Any

import orbax.checkpoint as ocp
from etils import epath

from train import whole_saves
from train.checkpoints.leaves import differences
from train.state import TrainState


class CheckpointError(RuntimeError):
    """A save did not happen, or what is saved does not fit."""


class Store:
    """Writes states while training goes on, and reads them."""

    def __init__(self):
        # Orbax warns of what is asked for here, and prints what it also raises: of a
        # full disk a line for every array.
        for name in ("absl", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        whole_saves.install()
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
            whole_saves.wait_for_threads()
            raise

    def wait(self) -> None:
        """Waits until all is written or has failed; raises what went wrong first."""
        try:
            self.orbax.wait_until_finished()
        finally:
            whole_saves.wait_for_threads()

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
            whole_saves.wait_for_threads()
