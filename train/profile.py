"""A trace of a few steps by jax's profiler."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

# Steps of a start that are not traced: compilation and the first batches.
AFTER = 10

Step = Callable[[Any, Any], Any]


@contextlib.contextmanager
def profiled(step: Step, steps: int, folder: Path, say=print) -> Iterator[Step]:
    """A step that traces some of its calls.

    Args:
        step: `step(state, batch) -> state`.
        steps: how many calls, after the first ten; 0 for none.
        folder: where the trace is written; TensorBoard and Perfetto show it.
        say: told where the trace is.

    Yields:
        The step to use in its place; a trace still open at the end is closed.
    """
    if not steps:
        yield step
        return
    trace = _Trace(step, steps, folder, say)
    try:
        yield trace
    finally:
        trace.stop()


class _Trace:
    def __init__(self, step: Step, steps: int, folder: Path, say):
        self.step, self.steps, self.folder, self.say = step, steps, folder, say
        self.calls, self.running = 0, False

    def __call__(self, state, batch):
        if self.calls == AFTER:
            jax.block_until_ready(state)
            jax.profiler.start_trace(self.folder)
            self.running = True
        with jax.profiler.StepTraceAnnotation("train", step_num=self.calls):
            state = self.step(state, batch)
        self.calls += 1
        if self.calls == AFTER + self.steps:
            jax.block_until_ready(state)
            self.stop()
        return state

    def stop(self) -> None:
        if self.running:
            self.running = False
            jax.profiler.stop_trace()
            self.say(f"trace of {self.calls - AFTER} steps: {self.folder}")
