"""Saving and restoring a run with Orbax; every save is checked before it counts."""

import logging
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from train.state import TrainState

# Lines of an error that lists arrays.
SHOWN = 8


class CheckpointError(RuntimeError):
    """A save did not happen, or what is saved does not fit."""


class Checkpoints:
    """The last few states of a run, in a folder.

    Args:
        folder: made when it is first saved to.
        keep: how many of the last are kept; 0 for a reader that deletes none.
    """

    def __init__(self, folder: Path, keep: int = 0):
        # Orbax warns of what is asked for here, and prints what it also raises.
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        self.folder = folder.absolute()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep or None,
            enable_async_checkpointing=False,
            cleanup_tmp_directories=keep > 0,
            read_only=keep == 0,
        )
        handlers = {
            "state": ocp.StandardCheckpointHandler(),
            "notes": ocp.JsonCheckpointHandler(),
        }
        self.manager = ocp.CheckpointManager(
            self.folder, options=options, item_handlers=handlers
        )

    def save(self, state: TrainState, notes: dict[str, Any]) -> None:
        """Writes the state and the notes (JSON) and makes sure that they are there.

        Raises:
            CheckpointError: they could not be written; earlier steps are intact.
        """
        step = int(state.step)
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state), notes=ocp.args.JsonSave(notes)
        )
        try:
            self.manager.save(step, args=items)
            self.manager.wait_until_finished()
            self.manager.check_for_errors()
            self.manager.reload()
            written = step in self.manager.all_steps()
        except Exception as error:
            raise CheckpointError(
                f"step {step} could not be saved in {self.folder}: {error}. The steps "
                "saved before it are intact; make room and run the same command again."
            ) from error
        if not written:
            raise CheckpointError(
                f"step {step} was not found in {self.folder} after it was saved. Is "
                "something else writing there?"
            )

    def latest(self) -> int | None:
        """The last saved step, None if there is none."""
        return self.manager.latest_step()

    def restore(self, like: TrainState) -> tuple[TrainState, dict[str, Any]]:
        """The last saved state and its notes.

        Args:
            like: `jax.ShapeDtypeStruct`s with the shardings the arrays shall have.

        Raises:
            CheckpointError: nothing is saved, or it is not of these shapes and dtypes.
        """
        step = self.latest()
        if step is None:
            raise CheckpointError(
                f"no checkpoint in {self.folder}. Train first: python -m train fit …"
            )
        self._check(step, like)
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(like), notes=ocp.args.JsonRestore()
        )
        restored = self.manager.restore(step, args=items)
        return restored["state"], restored["notes"]

    def _check(self, step: int, like: TrainState) -> None:
        """Orbax casts dtypes in silence; compare with what it says it has."""
        saved = _described(self.manager.item_metadata(step).state)
        wanted = _described(like)
        names = sorted(saved.keys() | wanted.keys())
        wrong = [
            f"  {name}: saved {saved.get(name, 'nothing')}, "
            f"wanted {wanted.get(name, 'nothing')}"
            for name in names
            if saved.get(name) != wanted.get(name)
        ]
        if wrong:
            more = [f"  and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
            lines = "\n".join(wrong[:SHOWN] + more)
            raise CheckpointError(
                f"step {step} in {self.folder} is of another network or optimiser:\n"
                f"{lines}\nUse the config it was trained with, or another --workdir."
            )


def _described(tree: Any) -> dict[str, str]:
    """Path of each array -> its dtype and shape."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {
        ".".join(_key(entry) for entry in path): f"{np.dtype(leaf.dtype)}{leaf.shape}"
        for path, leaf in leaves
        if hasattr(leaf, "shape")
    }


def _key(entry: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(entry, attribute):
            return str(getattr(entry, attribute))
    return str(entry)
