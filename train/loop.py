"""The loop: steps, and what happens after which of them. It knows no task."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import jax

State = TypeVar("State")


@dataclass(frozen=True)
class Cadence:
    """After which steps things happen; each also happens after the last.

    Attributes:
        total: steps of the whole run.
        log: steps between two reports.
        evaluate: steps between two evaluations.
        save: steps between two saves.
    """

    total: int
    log: int
    evaluate: int
    save: int

    def due(self, every: int, step: int) -> bool:
        """Whether it is time after `step` steps."""
        return step % every == 0 or step == self.total


class Hooks(Protocol[State]):
    """What the loop calls."""

    def log(self, step: int, state: State) -> State:
        """Reports; returns the state with its metrics emptied."""
        ...

    def evaluate(self, step: int, state: State) -> bool:
        """Evaluates, unless that is on record; whether the state shall be saved."""
        ...

    def overdue(self) -> bool:
        """Whether the last save is long ago; asked after each report."""
        ...

    def save(self, step: int, state: State) -> None:
        """Saves the state."""
        ...


@dataclass
class Clock:
    """Seconds of training so far, over all starts of the run; evaluation excluded."""

    seconds: float = 0.0
    _since: float | None = field(default=None, init=False)

    def read(self) -> float:
        """The seconds until now."""
        running = 0.0 if self._since is None else time.perf_counter() - self._since
        return self.seconds + running

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Counts while inside."""
        self._since = time.perf_counter()
        try:
            yield
        finally:
            self.seconds, self._since = self.read(), None

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Does not count while inside."""
        self.seconds, self._since = self.read(), None
        try:
            yield
        finally:
            self._since = time.perf_counter()


@dataclass(frozen=True)
class Loop(Generic[State]):
    """A training run.

    Attributes:
        cadence: when to log, evaluate and save.
        train_step: `train_step(state, batch) -> state`.
        hooks: what to do then.
        clock: measures the training.
        stop: true once the run shall end early; `stop.after(step)`, asked once after
            each step, tells whether it ends there.
    """

    cadence: Cadence
    train_step: Any
    hooks: Hooks[State]
    clock: Clock
    stop: Any

    def run(self, state: State, start: int, batches: Iterator[Any]) -> State:
        """Trains from step `start` to the end, or until `stop`; returns the state.

        `batches` yields those of the steps start, start + 1, … Saving comes last after
        a step: what is saved has been reported and evaluated, unless it was stopped.
        """
        due, cadence = self.cadence.due, self.cadence
        if start and due(cadence.evaluate, start):
            self.hooks.evaluate(start, state)
        with self.clock.running():
            for step in range(start + 1, cadence.total + 1):
                batch = next(batches)
                # A step that fetches or sends data itself would wait for it each time.
                with jax.transfer_guard("disallow"):
                    state = self.train_step(state, batch)
                saving = due(cadence.save, step)
                if due(cadence.log, step):
                    state = self.hooks.log(step, state)
                    saving |= self.hooks.overdue()
                if due(cadence.evaluate, step) and not self.stop:
                    jax.block_until_ready(state)
                    with self.clock.paused():
                        saving |= self.hooks.evaluate(step, state)
                # Read once: a signal after this line stops after the next step.
                stopping = self.stop.after(step)
                if saving or stopping:
                    self.hooks.save(step, state)
                if stopping:
                    break
            jax.block_until_ready(state)
        return state
