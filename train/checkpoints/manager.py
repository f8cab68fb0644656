"""Saving and restoring a run; every save is checked before it counts.

A save goes on while training does. A thread waits for Orbax's commit, sums the files,
writes the manifest (manifest.py) and only then removes older steps.
"""

import errno
import os
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
from etils import epath

from train.checkpoints import manifest, steps
from train.checkpoints.leaves import different
from train.checkpoints.store import CheckpointError, Store
from train.distributed import any_process, from_first, on_first, say
from train.state import TrainState
from train.workdir.files import FULL, is_local

# Errors of a disk are known by what systems call them: libraries keep the words alone.
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


class ElsewhereError(RuntimeError):
    """The save failed in another process of the run."""


# Errors that say themselves what is wrong.
OURS = (OSError, ElsewhereError, CheckpointError, manifest.DamagedError)


def advice(error: BaseException) -> str:
    """What to do about an error of a save."""
    said, cause = str(error), error.__cause__ or error
    if any(os.strerror(code) in said for code in FULL):
        return "Make room and run the same command again."
    if any(os.strerror(code) in said for code in FORBIDDEN):
        return "Let the folder be written to and run the same command again."
    if isinstance(cause, OURS):
        return "Run the same command again once that is mended."
    kind = type(cause)
    return (
        f"This is no lack of room but an error of a library, {kind.__module__}."
        f"{kind.__qualname__}: does it come with the versions of constraints.txt, too?"
    )


class Checkpoints:
    """The last few states of a run and the best, in a folder.

    With several processes each makes one and calls all methods, in the same order; the
    first alone checks and writes manifests, and removes steps.

    Args:
        folder: a local path or gs://…; made when it is first saved to.
        keep: how many of the last are kept; 0 for a reader that changes nothing.
    """

    def __init__(self, folder: epath.PathLike, keep: int = 0):
        path = epath.Path(folder)
        self.folder = path.absolute() if is_local(path) else path
        self.keep, self.first = keep, jax.process_index() == 0
        self.steps, self.store = steps.Steps(self.folder), Store()
        self.pool = ThreadPoolExecutor(1, "checkpoint")
        self.pending: tuple[int, Future[None]] | None = None
        if self.first and keep:
            self.steps.clear()

    def save(
        self,
        state: TrainState,
        notes: dict[str, Any],
        scores: Mapping[int, float] | None = None,
    ) -> None:
        """Finishes the save before and starts to write the state.

        The state's arrays may be donated as soon as this returns.

        Args:
            state: whole on every device.
            notes: JSON.
            scores: of the steps that were evaluated; higher is better. The best of the
                saved steps is kept, however old it is.

        Raises:
            CheckpointError: it cannot be written, or the save before was not; earlier
                steps are intact.
        """
        self.finish()
        step = int(state.step)
        try:
            if self.first:
                self.steps.make_way(step)
            self.store.write(self.steps.path(step), state, notes)
        except Exception as error:
            raise self._failed(step, error) from error
        self.pending = step, self.pool.submit(self._complete, step, dict(scores or {}))

    def prove(self, state: TrainState, notes: dict[str, Any]) -> None:
        """Saves the state, reads it back and compares every bit, before a run begins.

        What disk, rights and libraries would refuse after hours is refused now. A state
        that is not saved yet is kept as any save is. One that is, as a run goes on from
        it, stays as it is, and a copy beside it is removed again.

        Args:
            state: as of `save`.
            notes: as of `save`.

        Raises:
            CheckpointError: it cannot be written, or is not what was saved.
        """
        step = int(state.step)
        kept = from_first(int(step in self.steps.saved()))
        folder = self.steps.proof(step) if kept else self.steps.path(step)
        # Each by all processes or by none: they wait for each other inside.
        parts = (
            lambda: self._write(step, folder, state, notes),
            lambda: manifest.check(folder) if self.first else None,
            lambda: self._compare(folder, state),
        )
        for part in parts:
            error = None
            try:
                part()
            except Exception as caught:
                error = caught
            self._raise_together(step, error, "nothing was trained, as ")
        if self.first and kept:
            steps.remove(folder)

    def _write(
        self, step: int, folder: epath.Path, state: TrainState, notes: Any
    ) -> None:
        if self.first:
            self.steps.make_way(step)
        self.store.write(folder, state, notes)
        self.store.wait()
        if self.first:
            manifest.write(folder)

    def _compare(self, folder: epath.Path, state: TrainState) -> None:
        like = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding), state
        )
        found, _ = self.store.read(folder, like)
        if names := different(found, state):
            raise OSError(f"{folder} does not give back {', '.join(names[:3])}")

    def _complete(self, step: int, scores: Mapping[int, float]) -> None:
        """In a thread: no collective may come in here, the loop makes them too."""
        self.store.wait()
        if self.first:
            manifest.write(self.steps.path(step))
            self.steps.prune(self.keep, scores)

    def finish(self) -> None:
        """Waits until what was last saved can be trusted.

        Raises:
            CheckpointError: it was not written; earlier steps are intact.
        """
        if self.pending is None:
            return
        (step, future), self.pending = self.pending, None
        self._raise_together(step, future.exception())

    def _raise_together(
        self, step: int, error: BaseException | None, before: str = ""
    ) -> None:
        """Each process learns whether one of them failed, or the others would wait."""
        if any_process(error is not None):
            error = error or ElsewhereError("another process failed, see its message")
            raise self._failed(step, error, before) from error

    def close(self) -> None:
        """Finishes and ends the threads; an interpreter that ends would cut them off.

        Raises:
            CheckpointError: what was last saved was not written.
        """
        try:
            self.finish()
        finally:
            self.pool.shutdown()
            self.store.close()

    def _failed(
        self, step: int, error: BaseException, before: str = ""
    ) -> CheckpointError:
        return CheckpointError(
            f"{before}step {step} could not be saved in {self.folder}: {error}. The "
            f"steps saved before it are intact. {advice(error)}"
        )

    def latest(self) -> int | None:
        """The last saved step, None if there is none; it may turn out to be damaged."""
        return from_first(max(self.steps.usable(), default=None))

    def best(self, scores: Mapping[int, float]) -> int | None:
        """The saved step with the highest score, None if none of them has one."""
        return from_first(steps.best(self.steps.saved(), scores))

    def restore(
        self, like: TrainState, step: int | None = None
    ) -> tuple[TrainState, dict[str, Any]]:
        """A saved state and its notes, after a check of its files.

        Args:
            like: `jax.ShapeDtypeStruct`s with the shardings the arrays shall have.
            step: a saved one; None for the last that is not damaged. A damaged step
                that is passed over is said, and set aside by who saves here.

        Raises:
            CheckpointError: nothing is saved, or it is damaged, or it is not of these
                shapes and dtypes.
        """
        found = steps.Found(None, {})

        def look() -> None:
            nonlocal found
            found = self.steps.good() if step is None else self.steps.look(step)
            if found.step is None:
                raise CheckpointError(steps.none_is_good(self.folder, found.damaged))

        on_first(look)
        chosen = from_first(found.step)
        assert chosen is not None  # or the first process had raised
        restored = self.store.read(self.steps.path(chosen), like)
        if self.first:
            for number, reason in found.damaged.items():
                where = f" (now {self.steps.set_aside(number)})" if self.keep else ""
                say(f"step {number} is damaged{where}: {reason}. Using step {chosen}.")
        return restored
