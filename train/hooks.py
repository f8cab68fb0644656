"""What happens while training: reports, evaluations and saves; traces."""

import contextlib
import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from train import sharding
from train.checkpoints.manager import Checkpoints
from train.data.prefetch import DevicePrefetch
from train.distributed import any_process, on_first, say
from train.evaluate import Stopped, evaluate, weights_of, write_outputs
from train.experiment import Experiment, parameter_count
from train.loop import Clock
from train.nonfinite import check_finite
from train.preemption import Stop
from train.scalars import Scalars
from train.state import TrainState

# Steps of a start that are not traced: compilation and the first batches.
AFTER = 10

Step = Callable[[Any, Any], Any]


@dataclasses.dataclass
class TrainHooks:
    """The loop's hooks.

    Attributes:
        experiment: what runs.
        checkpoints: where it is saved.
        scalars: where its numbers go.
        clock: seconds of training.
        stop: true once a signal came.
        batches: the training batches, and how long they were waited for.
        still_ours: raises if another run has taken the folder.
        last_step: of the last report.
        last_time: of the last report, evaluations taken out.
        last_save: its time, at first that of the start.
    """

    experiment: Experiment
    checkpoints: Checkpoints
    scalars: Scalars
    clock: Clock
    stop: Stop
    batches: DevicePrefetch
    still_ours: Callable[[], None]
    last_step: int
    last_time: float = dataclasses.field(default_factory=time.perf_counter)
    last_save: float = dataclasses.field(default_factory=time.perf_counter)

    def headline(self) -> str:
        """What is about to run, on what."""
        e = self.experiment
        devices = e.mesh.devices.ravel()
        count = len(e.input.class_names)
        classes = f" of {count} classes" if count else ""
        resumed = f", resumed at step {self.last_step}" if self.last_step else ""
        return (
            f"{e.config.model.name}: {parameter_count(e):,} parameters; "
            f"{e.input.train_images:,} images{classes}, "
            f"{e.steps} steps of {e.config.batch_size} on "
            f"{len(devices)} × {devices[0].device_kind}; {e.workdir}{resumed}"
        )

    def log(self, step: int, state: TrainState) -> TrainState:
        """Prints and records the metrics since the last time, and empties them."""
        e = self.experiment
        self._check_sound(state)
        numbers = e.task.numbers(jax.device_get(state.metrics))
        now = time.perf_counter()
        seconds = now - self.last_time
        rate = (step - self.last_step) * e.config.batch_size / seconds
        left = (e.steps - step) * e.config.batch_size / rate
        learning_rate = float(e.schedule(step - 1))
        record = {
            "kind": "train",
            "step": step,
            "epoch": step / e.steps_per_epoch,
            **numbers,
            "learning_rate": learning_rate,
            "images_per_second": rate,
            "input_wait": self.batches.take_waited() / seconds,
            "skipped_images": e.input.skipped,
            "skipped_steps": int(state.skipped),
            "train_seconds": self.clock.read(),
        }
        if state.loss_scale is not None:
            record |= state.loss_scale.numbers()
        self.scalars.write(record)
        say(
            f"epoch {record['epoch']:6.2f}/{e.config.epochs}  step {step:6d}/{e.steps}"
            f"  {e.task.line(numbers)}"
            f"  lr {learning_rate:.4g}  {rate:,.0f} images/s"
            f"  input {record['input_wait']:.0%}"
            f"  left {duration(left)}"
        )
        self.last_step, self.last_time = step, now
        empty = sharding.put_state(e.mesh, e.task.empty())
        return state.replace(metrics=empty)  # pyright: ignore[reportAttributeAccessIssue]

    def evaluate(self, step: int, state: TrainState) -> bool:
        """Evaluates, unless that is on record; whether it is the best so far."""
        self._check_sound(state)
        began = time.perf_counter()
        with contextlib.suppress(Stopped):
            for kind, weights in weights_of(state).items():
                if not any(record["step"] == step for record in self.scalars.of(kind)):
                    self._evaluate(kind, step, weights)
        self.last_time += time.perf_counter() - began
        scores = self._scores()
        others = (score for other, score in scores.items() if other != step)
        return step in scores and scores[step] > max(others, default=-math.inf)

    def _evaluate(self, kind: str, step: int, state: TrainState) -> None:
        e = self.experiment
        put = functools.partial(sharding.put_batch, e.mesh)
        with contextlib.closing(e.input.test()) as batches:
            evaluator = e.task.evaluator()
            numbers = evaluate(state, batches, put, e.eval_step, evaluator, self.stop)
        if kind == "test":
            write_outputs(evaluator, e.workdir)
        epoch = step / e.steps_per_epoch
        self.scalars.write({"kind": kind, "step": step, "epoch": epoch} | numbers)
        line = e.task.line(numbers, kind)
        say(f"epoch {epoch:6.2f}/{e.config.epochs}  {line}")

    def overdue(self) -> bool:
        """Whether a process saved its last more than checkpoint.every_minutes ago."""
        minutes = self.experiment.config.checkpoint.every_minutes
        since = time.perf_counter() - self.last_save
        return minutes > 0 and any_process(since > 60 * minutes)

    def save(self, step: int, state: TrainState) -> None:
        """Starts to save the state and the seconds it took."""
        self._check_sound(state)
        check_finite(state)
        on_first(self.still_ours)
        self.last_save = time.perf_counter()
        notes = {"train_seconds": self.clock.read()}
        self.checkpoints.save(state, notes, self._scores())

    def _scores(self) -> dict[int, float]:
        """Step -> the task's score, if the best is kept."""
        if not self.experiment.config.checkpoint.best:
            return {}
        score = self.experiment.task.score
        return {r["step"]: r[score] for r in self.scalars.of("test")}

    def _check_sound(self, state: TrainState) -> None:
        """Ends a run whose next update would not be of finite numbers."""
        if bad := int(state.bad_step):
            with contextlib.closing(self.experiment.input.train(bad - 1, bad)) as made:
                why = self.experiment.diagnose(jax.device_get(state), next(made))
            raise FloatingPointError(
                f"{why}. The update was not made; what is saved is intact. Lower "
                "optim.peak_lr or lengthen optim.warmup_epochs, with a new --workdir, "
                "or leave such steps out: --optim.skip-bad-steps 5."
            )


def duration(seconds: float) -> str:
    """Minutes and seconds, with hours from an hour on: "2:07", "26:01:44"."""
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d}"
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


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
