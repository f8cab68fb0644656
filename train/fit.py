"""`fit`: trains a config from where it stands to its end."""

import dataclasses
import math
import time

from train import sharding
from train.build import Experiment, build, parameter_count
from train.checkpoint import Checkpoints
from train.claim import claim
from train.config import Config
from train.data.pipeline import eval_batches, prefetch
from train.evaluate import Stopped, evaluate
from train.lock import lock, prepare_workdir
from train.loop import Cadence, Clock, Loop
from train.metrics import Metrics, scalars
from train.report import write_report
from train.scalars import Scalars
from train.state import TrainState
from train.stop import Stop, stop_on_signal


def fit(config: Config) -> int:
    """Trains; returns the exit code: 0 finished, 128 + signal stopped and saved."""
    experiment = build(config)
    prepare_workdir(experiment.workdir)
    with lock(experiment.workdir), stop_on_signal() as stop:
        claim(experiment.workdir, config)
        checkpoints = Checkpoints(
            experiment.workdir / "checkpoints", config.checkpoint.keep
        )
        state, clock = _start(experiment, checkpoints)
        start = int(state.step)
        log = Scalars(experiment.workdir, start, config.log.tensorboard)
        run = Run(experiment, checkpoints, log, clock, stop, start)
        print(run.headline(), flush=True)
        state = _loop(run).run(state, start, run.batches(start))
        if stop:
            print(f"stopped at step {int(state.step)}, saved. Run it again to go on.")
            return stop.exit_code
        write_report(experiment, state, log, clock.seconds)
    return 0


def _loop(run: "Run") -> Loop[TrainState]:
    config, epoch = run.experiment.config, run.experiment.batches.steps_per_epoch
    cadence = Cadence(
        total=run.experiment.steps,
        log=config.log.every_steps,
        evaluate=epoch,
        save=config.checkpoint.every_steps,
    )
    return Loop(cadence, run.experiment.train_step, run, run.clock, run.stop)


def _start(
    experiment: Experiment, checkpoints: Checkpoints
) -> tuple[TrainState, Clock]:
    """The last saved state, or the first."""
    if checkpoints.latest() is None:
        return experiment.init(), Clock()
    state, notes = checkpoints.restore(experiment.abstract_state)
    return state, Clock(notes["train_seconds"])


@dataclasses.dataclass
class Run:
    """What happens while training: reports, evaluations, saves (the loop's hooks)."""

    experiment: Experiment
    checkpoints: Checkpoints
    scalars: Scalars
    clock: Clock
    stop: Stop
    last_step: int
    last_time: float = dataclasses.field(default_factory=time.perf_counter)

    def headline(self) -> str:
        """What is about to run, on what."""
        e = self.experiment
        devices = e.mesh.devices.ravel()
        resumed = f", resumed at step {self.last_step}" if self.last_step else ""
        return (
            f"{e.config.model.name}: {parameter_count(e):,} parameters; "
            f"{len(e.splits.train):,} images, {e.steps} steps of {e.config.batch_size} "
            f"on {len(devices)} × {devices[0].device_kind}; {e.workdir}{resumed}"
        )

    def batches(self, start: int):
        """The training batches from step `start` on, on the devices."""
        e = self.experiment
        depth = e.config.data.prefetch
        for batch in prefetch(e.batches, start, e.steps, depth):
            # The step needs no index; it is for looking images up.
            yield self.put({name: batch[name] for name in ("image", "label")})

    def put(self, batch):
        """A batch to the devices."""
        return sharding.put_batch(self.experiment.mesh, batch)

    def log(self, step: int, state: TrainState) -> TrainState:
        """Prints and records the metrics since the last time, and empties them."""
        e = self.experiment
        _check_finite(step, state)
        numbers = scalars(state.metrics)
        now = time.perf_counter()
        rate = (step - self.last_step) * e.config.batch_size / (now - self.last_time)
        left = (e.steps - step) * e.config.batch_size / rate
        learning_rate = float(e.schedule(step - 1))
        record = {
            "kind": "train",
            "step": step,
            "epoch": step / e.batches.steps_per_epoch,
            **numbers,
            "learning_rate": learning_rate,
            "images_per_second": rate,
            "train_seconds": self.clock.read(),
        }
        self.scalars.write(record)
        print(
            f"epoch {record['epoch']:6.2f}/{e.config.epochs}  step {step:6d}/{e.steps}"
            f"  loss {numbers['loss']:.4f}  top-1 {numbers['top1']:5.2f} %"
            f"  lr {learning_rate:.4g}  {rate:,.0f} images/s"
            f"  left {int(left) // 60}:{int(left) % 60:02d}",
            flush=True,
        )
        self.last_step, self.last_time = step, now
        empty = sharding.put_state(e.mesh, Metrics.empty())
        return state.replace(metrics=empty)  # pyright: ignore[reportAttributeAccessIssue]

    def evaluate(self, step: int, state: TrainState) -> None:
        """Evaluates on the test images, unless that is on record."""
        e = self.experiment
        if any(record["step"] == step for record in self.scalars.of("test")):
            return
        began = time.perf_counter()
        batches = eval_batches(e.splits.test, e.config.eval_batch_size)
        try:
            metrics = evaluate(state, batches, self.put, e.eval_step, self.stop)
        except Stopped:
            return
        numbers = scalars(metrics)
        epoch = step / e.batches.steps_per_epoch
        self.scalars.write({"kind": "test", "step": step, "epoch": epoch, **numbers})
        print(
            f"epoch {epoch:6.2f}/{e.config.epochs}  test loss {numbers['loss']:.4f}"
            f"  test top-1 {numbers['top1']:5.2f} %  top-5 {numbers['top5']:5.2f} %",
            flush=True,
        )
        self.last_time += time.perf_counter() - began

    def save(self, step: int, state: TrainState) -> None:
        """Saves the state and the seconds it took."""
        _check_finite(step, state)
        self.checkpoints.save(state, {"train_seconds": self.clock.read()})


def _check_finite(step: int, state: TrainState) -> None:
    """Ends a run whose loss is no number, before the state can be saved."""
    if not math.isfinite(float(state.metrics.loss.total)):  # pyright: ignore[reportAttributeAccessIssue]
        raise FloatingPointError(
            f"the loss is no longer finite at step {step}. The steps saved before are "
            "intact. Lower optim.peak_lr or lengthen optim.warmup_epochs, with a new "
            "--workdir."
        )
