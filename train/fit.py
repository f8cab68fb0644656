"""`fit`: trains a config from where it stands to its end."""

import contextlib
from collections.abc import Callable

import jax

from prm_flax.interop.shapes import LeafPath
from train.checkpoints.manager import Checkpoints
from train.checkpoints.steps import Steps
from train.config import BaseConfig
from train.data.input import Batch
from train.data.prefetch import DevicePrefetch
from train.distributed import on_first, say
from train.experiment import Experiment, build
from train.hooks import TrainHooks, profiled
from train.initialization import first_state, has_saved, read_init
from train.loop import Cadence, Clock, Loop
from train.preemption import stop_on_signal
from train.report import write_report
from train.scalars import Scalars
from train.state import TrainState
from train.tasks.metrics import parameter_line, parameter_table
from train.validate import check_images
from train.workdir.files import local
from train.workdir.lock import lock, prepare_workdir
from train.workdir.run_data import RunData, check_data, data_of, write_data
from train.workdir.same_config import check_config_of_run, write_config


def fit(config: BaseConfig) -> int:
    """Trains; returns the exit code: 0 finished, 128 + signal stopped and saved."""
    experiment = build(config)
    given = experiment.input
    images = experiment.input
    check_images(config, images.train_images, images.epoch_batches)
    data = data_of(experiment.input)
    # What is saved comes before init.file, which need not be there any more.
    given = {} if has_saved(experiment.workdir) else read_init(experiment)
    with contextlib.ExitStack() as held:
        stop = held.enter_context(stop_on_signal())
        ours: list[Callable[[], None]] = []
        on_first(lambda: ours.append(_occupy(held, experiment, data)))
        folder = experiment.workdir / "checkpoints"
        checkpoints = Checkpoints(folder, config.checkpoint.keep)
        held.enter_context(contextlib.closing(checkpoints))
        state, clock = _start(experiment, checkpoints, given)
        start = int(state.step)
        if start < experiment.steps:
            checkpoints.prove(state, {"train_seconds": clock.seconds})
        log = _scalars(experiment, start)
        batches = _batches(experiment, start)
        held_by = ours[0] if ours else lambda: None
        run = TrainHooks(
            experiment, checkpoints, log, clock, stop, batches, held_by, start
        )
        _introduce(experiment, run)
        with profiled(*_profile(experiment)) as train_step:
            loop = Loop(_cadence(experiment), train_step, run, clock, stop)
            with contextlib.closing(batches):
                state = loop.run(state, start, iter(batches))
        checkpoints.finish()
        if stop:
            say(f"stopped at step {int(state.step)}, saved. Run it again to go on.")
            return stop.exit_code
        on_first(lambda: write_report(experiment, state, log, clock.seconds))
    return 0


def _occupy(
    held: contextlib.ExitStack, experiment: Experiment, data: RunData
) -> Callable[[], None]:
    """Makes the run's folder this run's, until the end; what tells that it still is."""
    prepare_workdir(experiment.workdir)
    still_ours = held.enter_context(lock(experiment.workdir))
    # All is compared before anything is written.
    workdir = experiment.workdir
    check_config_of_run(workdir, experiment.config)
    if Steps(workdir / "checkpoints").usable():
        check_data(workdir, data)
    write_config(workdir, experiment.config)
    write_data(workdir, data)
    return still_ours


def _scalars(experiment: Experiment, start: int) -> Scalars:
    """The numbers so far: the first process drops later ones, then the others read."""
    made = []

    def read(writes: bool) -> None:
        asked = experiment.config.log.tensorboard
        made.append(Scalars(experiment.workdir, start, asked, writes))

    on_first(lambda: read(True))
    if not made:
        read(False)
    return made[0]


def _cadence(experiment: Experiment) -> Cadence:
    config = experiment.config
    return Cadence(
        total=experiment.steps,
        log=config.log.every_steps,
        evaluate=experiment.steps_per_epoch,
        save=config.checkpoint.every_steps,
    )


def _start(
    experiment: Experiment, checkpoints: Checkpoints, given: dict[LeafPath, jax.Array]
) -> tuple[TrainState, Clock]:
    """The last saved state, or the first."""
    if checkpoints.latest() is None:
        return first_state(experiment, given), Clock()
    state, notes = checkpoints.restore(experiment.abstract_state)
    return state, Clock(notes["train_seconds"])


def _batches(experiment: Experiment, start: int) -> DevicePrefetch:
    """The training batches from step `start` on, on the devices."""

    def put(batch: Batch) -> dict[str, jax.Array]:
        # The step needs no index; it is for looking images up.
        used = {name: batch[name] for name in experiment.task.shapes(0)}
        return experiment.put(used)

    return DevicePrefetch(experiment.input.train(start, experiment.steps), put)


def _introduce(experiment: Experiment, run: TrainHooks) -> None:
    """Says what is about to run, and writes down its parameters."""
    say(run.headline())
    for line in experiment.input.about():
        say(line)
    params = experiment.abstract_state.params
    path = experiment.workdir / "parameters.txt"
    on_first(lambda: path.write_text(parameter_table(params) + "\n"))
    if run.last_step == 0:
        say(f"parameters ({path.name}): {parameter_line(params)}")


def _profile(experiment: Experiment):
    """What `profiled` takes."""
    folder = local(experiment.workdir) / "profile"
    return experiment.train_step, experiment.config.profile, folder, say
