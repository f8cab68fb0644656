"""`fit`: trains a config from where it stands to its end."""

import contextlib

import jax

from train import overview, sharding
from train.build import Experiment, build
from train.checkpoint import Checkpoints
from train.claim import claim
from train.config import Config
from train.console import say
from train.data.input import Batch
from train.feed import Feed
from train.hooks import Run
from train.lock import lock, prepare_workdir
from train.loop import Cadence, Clock, Loop
from train.profile import profiled
from train.report import write_report
from train.scalars import Scalars
from train.state import TrainState
from train.stop import stop_on_signal


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
        first = jax.process_index() == 0
        log = Scalars(experiment.workdir, start, config.log.tensorboard, first)
        feed = _feed(experiment, start)
        run = Run(experiment, checkpoints, log, clock, stop, feed, start)
        _introduce(experiment, run)
        with profiled(*_profile(experiment)) as train_step:
            loop = Loop(_cadence(experiment), train_step, run, clock, stop)
            with contextlib.closing(feed):
                state = loop.run(state, start, iter(feed))
        if stop:
            say(f"stopped at step {int(state.step)}, saved. Run it again to go on.")
            return stop.exit_code
        write_report(experiment, state, log, clock.seconds)
    return 0


def _cadence(experiment: Experiment) -> Cadence:
    config = experiment.config
    return Cadence(
        total=experiment.steps,
        log=config.log.every_steps,
        evaluate=experiment.steps_per_epoch,
        save=config.checkpoint.every_steps,
    )


def _start(
    experiment: Experiment, checkpoints: Checkpoints
) -> tuple[TrainState, Clock]:
    """The last saved state, or the first."""
    if checkpoints.latest() is None:
        return experiment.init(), Clock()
    state, notes = checkpoints.restore(experiment.abstract_state)
    return state, Clock(notes["train_seconds"])


def _feed(experiment: Experiment, start: int) -> Feed:
    """The training batches from step `start` on, on the devices."""

    def put(batch: Batch) -> dict[str, jax.Array]:
        # The step needs no index; it is for looking images up.
        used = {name: batch[name] for name in ("image", "label")}
        return sharding.put_batch(experiment.mesh, used)

    return Feed(experiment.input.train(start, experiment.steps), put)


def _introduce(experiment: Experiment, run: Run) -> None:
    """Says what is about to run, and writes down its parameters."""
    say(run.headline())
    params = experiment.abstract_state.params
    path = experiment.workdir / "parameters.txt"
    path.write_text(overview.table(params) + "\n")
    if run.last_step == 0:
        say(f"parameters ({path.name}): {overview.line(params)}")


def _profile(experiment: Experiment):
    """What `profiled` takes."""
    folder = experiment.workdir / "profile"
    return experiment.train_step, experiment.config.profile, folder, say
