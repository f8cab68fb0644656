"""`evaluate` and `predict`: what a trained run says of the test set, of any image."""

import dataclasses
import functools
from pathlib import Path

import jax
import numpy as np

from prm_flax.figures import maps, plots
from prm_flax.figures.canvas import check_path
from train import sharding
from train.attempt import failure_of
from train.config import Config, Predict
from train.distributed import any_process, on_first, say
from train.evaluate import evaluate, weights_of
from train.experiment import Experiment
from train.initialization import uses_file
from train.state import TrainState
from train.step import normalize
from train.tasks.metrics import scalars
from train.workdir.files import local
from train.workdir.trained import opened, restore

# Images in a picture.
DRAWN = 16


def evaluate_run(config: Config) -> int:
    """Prints the test metrics of a run's last checkpoint; returns the exit code."""
    experiment = opened(config)
    state = restore(experiment)
    put = functools.partial(sharding.put_batch, experiment.mesh)
    for kind, weights in weights_of(state).items():
        metrics = evaluate(weights, experiment.input.test(), put, experiment.eval_step)
        numbers = scalars(metrics)
        say(
            f"step {int(state.step)}: {int(metrics.loss.count):,} images, "  # pyright: ignore[reportAttributeAccessIssue]
            f"{kind} loss {numbers['loss']:.4f}, top-5 {numbers['top5']:.2f} %"
        )
        say(f"{kind} top-1 {numbers['top1']:.2f} %")
    return 0


def predict(config: Config, what: Predict) -> int:
    """Prints the classes of images and draws them.

    Returns:
        The exit code: 1 where the classes were printed and the picture, which was asked
        for too, could not be drawn.

    Raises:
        ValueError: wrong options; nothing was computed.
    """
    experiment = opened(_without_imagenet(config), images=not what.images)
    if what.images:
        # Before the network is restored: a wrong file is an early error.
        images = np.stack([experiment.input.read(Path(path)) for path in what.images])
        names, labels = what.images, None
    else:
        images, labels = experiment.input.sample(what.count)
        names = [f"test image {i}" for i in range(len(images))]
    output = check_path(what.output or _folder(experiment) / "predict.png")
    state = restore(experiment)
    classes = experiment.input.class_names
    probabilities, queries = look(experiment, state, images)
    for name, row in zip(names, probabilities, strict=True):
        say(f"{name}: {_best(row, classes)}")
    n = min(len(images), DRAWN)
    draw = functools.partial(
        plots.predictions,
        output,
        images[:n],
        None if labels is None else labels[:n],
        probabilities[:n],
        classes,
        {stage: points[:n] for stage, points in queries.items()},
    )
    failed = []
    on_first(lambda: failed.append(failure_of(str(output), draw)))
    if any_process(any(failed)):
        return 1
    say(f"picture of {n}: {output}")
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


def look(experiment: Experiment, state: TrainState, images: np.ndarray):
    """Probabilities (n, k) of uint8 images, and each stage's last PRM's query points.

    The points are those of `prm_flax.figures.maps.stage_queries`; none where the
    network has no PRM.
    """
    # On one device of this process: other processes need not take part.
    state = jax.device_get(state)
    logits = experiment.predict_step(state, images)
    probabilities = np.asarray(jax.nn.softmax(logits.astype("float32")))
    model, data = experiment.model, experiment.config.data
    ready = normalize(images, data.mean, data.std)
    if not maps.has_prm(model, state.variables, ready):
        return probabilities, {}
    return probabilities, maps.stage_queries(model, state.variables, ready)


def _best(probabilities: np.ndarray, names: tuple[str, ...], count: int = 5) -> str:
    best = np.argsort(-probabilities, kind="stable")[:count]
    return ", ".join(f"{names[k]} {100 * probabilities[k]:.1f} %" for k in best)
