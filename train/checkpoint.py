"""Saving and restoring a run; every save is checked before it counts.

A save goes on while training does. A thread waits for Orbax's commit, sums the files,
writes the manifest (manifest.py) and only then removes older steps.
"""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
from etils import epath

from train import manifest, steps
from train.agree import any_process, from_first
from train.console import say
from train.distributed import on_first
from train.files import is_local
from train.state import TrainState
from train.steps import remove
from train.store import CheckpointError, Store, told


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
        step, known = int(state.step), dict(scores or {})
        self._start(step, self.steps.path(step), state, notes)
        self.pending = step, self.pool.submit(self._complete, step, known)

    def prove(self, state: TrainState, notes: dict[str, Any]) -> None:
        """Saves the state a run starts from and reads it back, before hours of work.

        A step that is saved already stays as it is: a copy is written beside it and
        removed.

        Raises:
            CheckpointError: it cannot be saved; earlier steps are intact.
        """
        self.finish()
        step = int(state.step)
        try:
            if not from_first(int(step in self.steps.saved())):
                self.save(state, notes)
                self.finish()
                self._compare(step, self.steps.path(step), state)
                return
            folder = self.steps.proof(step)
            self._start(step, folder, state, notes)
            self.pending = step, self.pool.submit(self._seal, folder)
            self.finish()
            self._compare(step, folder, state)
            on_first(lambda: remove(folder))
        except CheckpointError as error:
            raise CheckpointError(f"nothing was trained, as {error}") from error

    def _start(
        self, step: int, folder: epath.Path, state: TrainState, notes: Any
    ) -> None:
        try:
            if self.first:
                self.steps.make_way(step)
            self.store.write(folder, state, notes)
        except Exception as error:
            raise self._failed(step, error) from error

    def _compare(self, step: int, folder: epath.Path, state: TrainState) -> None:
        """Raises if what is on the disk is not what was saved."""
        try:
            on_first(lambda: manifest.check(folder))
            self.store.compare(folder, state)
        except Exception as error:
            raise self._failed(step, error) from error

    def _seal(self, folder: epath.Path) -> None:
        """In a thread: no collective may come in here, the loop makes them too."""
        self.store.wait()
        if self.first:
            manifest.write(folder)

    def _complete(self, step: int, scores: Mapping[int, float]) -> None:
        """In a thread, as above."""
        self._seal(self.steps.path(step))
        if self.first:
            self.steps.prune(self.keep, scores)

    def finish(self) -> None:
        """Waits until what was last saved can be trusted.

        Raises:
            CheckpointError: it was not written; earlier steps are intact.
        """
        if self.pending is None:
            return
        (step, future), self.pending = self.pending, None
        error = future.exception()
        # Each process learns whether one of them failed, or the others would wait.
        if any_process(error is not None):
            error = error or CheckpointError("another process failed, see its message")
            raise self._failed(step, error) from error

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

    def _failed(self, step: int, error: BaseException) -> CheckpointError:
        text, help = told(error)
        return CheckpointError(
            f"step {step} could not be saved in {self.folder}: {text}. The steps saved "
            f"before it are intact; {help}."
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
