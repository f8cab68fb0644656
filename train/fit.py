"""`fit`: trains a config from where it stands to its end."""

import dataclasses
import json
import time

import clu.parameter_overview

from train import sharding
from train.build import Experiment, build, parameter_count
from train.checkpoint import Checkpoints
from train.config import Config
from train.data.pipeline import eval_batches, prefetch
from train.evaluate import Stopped, evaluate
from train.lock import WorkdirError, lock, prepare_workdir
from train.loop import Cadence, Clock, Loop
from train.metrics import Metrics, scalars
from train.report import write_report
from train.scalars import Scalars
from train.state import TrainState
from train.stop import Stop, stop_on_signal

# Fields that may differ when a run is resumed: they do not change its numbers.
FREE_TO_CHANGE = ("checkpoint", "log", "workdir", "eval_batch_size", "data.prefetch")


def fit(config: Config) -> int:
    """Trains; returns the exit code: 0 finished, 128 + signal stopped and saved."""
    experiment = build(config)
    prepare_workdir(experiment.workdir)
    with lock(experiment.workdir), stop_on_signal() as stop:
        _claim(experiment)
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


def _claim(experiment: Experiment) -> None:
    """Writes the config into the folder, or compares it with the one there."""
    path = experiment.workdir / "config.json"
    config = _flat(json.loads(json.dumps(dataclasses.asdict(experiment.config))))
    if path.exists():
        earlier = json.loads(path.read_text())
        different = [
            f"{name}: was {earlier.get(name)!r}, is {config.get(name)!r}"
            for name in sorted(earlier.keys() | config.keys())
            if earlier.get(name) != config.get(name)
            and not name.startswith(FREE_TO_CHANGE)
        ]
        if different:
            raise WorkdirError(
                f"{experiment.workdir} holds a run of another config "
                f"({'; '.join(different)}). Choose another --workdir, or delete it."
            )
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(config, indent=1) + "\n")
    temporary.replace(path)


def _flat(tree: dict, prefix: str = "") -> dict:
    flat = {}
    for name, value in tree.items():
        nested = isinstance(value, dict)
        flat |= _flat(value, f"{prefix}{name}.") if nested else {prefix + name: value}
    return flat


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
        self.checkpoints.save(state, {"train_seconds": self.clock.read()})


def parameter_overview(experiment: Experiment) -> str:
    """A table of all parameters."""
    return clu.parameter_overview.get_parameter_overview(
        experiment.abstract_state.params, include_stats=False
    )
