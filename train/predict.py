"""`evaluate` and `predict`: what a trained run says of the test set, of any image."""

import dataclasses
import functools
from pathlib import Path

from prm_flax.figures.canvas import check_path
from train import sharding
from train.config import Config, Predict
from train.distributed import any_process, on_first, say
from train.evaluate import evaluate, weights_of, write_outputs
from train.experiment import Experiment
from train.initialization import uses_file
from train.report import failure_of
from train.tasks.task import Evaluator, column
from train.workdir.files import local
from train.workdir.trained import open_trained, restore


def evaluate_run(config: Config) -> int:
    """Prints the test metrics of a run's last checkpoint; returns the exit code."""
    experiment = open_trained(config)
    state = restore(experiment)
    put = functools.partial(sharding.put_batch, experiment.mesh)
    for kind, weights in weights_of(state).items():
        task = experiment.task
        evaluator = task.evaluator()
        batches = experiment.input.test()
        numbers = evaluate(weights, batches, put, experiment.eval_step, evaluator)
        if kind == "test":
            write_results(experiment, evaluator)
        score = column(task, task.score)
        rest = ", ".join(
            f"{c.title} {c.text(numbers[c.key])}"
            for c in task.columns
            if c != score and c.key in numbers
        )
        say(f"step {int(state.step)}: {numbers['images']:,} images, {kind} {rest}")
        say(f"{kind} {score.title} {score.text(numbers[score.key])}")
    return 0


def write_results(experiment: Experiment, evaluator: Evaluator) -> None:
    """Writes what an evaluation leaves in the run's folder, if it has one."""
    if not uses_file(experiment.config):
        write_outputs(evaluator, experiment.workdir)


def predict(config: Config, what: Predict) -> int:
    """Prints what a network says of images, and draws it.

    Returns:
        The exit code: 1 where the lines were printed and the picture, which was asked
        for too, could not be drawn.

    Raises:
        ValueError: wrong options; nothing was computed.
    """
    experiment = open_trained(_without_imagenet(config), images=not what.images)
    if what.images:
        # Before the network is restored: a wrong file is an early error.
        images = [experiment.input.read(Path(path)) for path in what.images]
        names, labels = list(what.images), None
    else:
        images, labels = experiment.input.sample(what.count)
        names = [f"test image {i}" for i in range(len(images))]
    output = check_path(what.output or _folder(experiment) / "predict.png")
    state = restore(experiment)
    shown = experiment.show(state, images, names, labels)
    for line in shown.lines:
        say(line)
    draw = functools.partial(shown.draw, output)
    failed = []
    on_first(lambda: failed.append(failure_of(str(output), draw)))
    if any_process(any(failed)):
        return 1
    say(f"picture of {shown.drawn}: {output}")
    return 0


def _without_imagenet(config: Config) -> Config:
    """Weights from a file need of ImageNet but the names of its classes."""
    data = config.data
    if config.init.file is None or data.source != "imagenet2012" or data.root:
        return config
    photos = dataclasses.replace(data, source="imagenet_photos", workers=0)
    return dataclasses.replace(config, data=photos)


def _folder(experiment: Experiment) -> Path:
    """Where the picture goes: the run's folder, or here if there is no run."""
    return Path() if uses_file(experiment.config) else local(experiment.workdir)
