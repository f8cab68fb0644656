"""`evaluate` and `predict`: what a trained run says of the test set, of any image."""

import functools
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from prm_flax.figures import maps, plots
from train import sharding
from train.build import Experiment, build
from train.checkpoint import CheckpointError, Checkpoints
from train.claim import FREE_TO_USE, check_same
from train.config import Config, Predict
from train.data.pipeline import eval_batches
from train.evaluate import evaluate
from train.metrics import scalars
from train.state import TrainState
from train.step import normalize

# Images in a picture.
DRAWN = 16
# Above any photograph; a picture of more claims memory that it may not have.
LARGEST_IMAGE = 100_000_000


def evaluate_run(config: Config) -> int:
    """Prints the test metrics of a run's last checkpoint; returns the exit code."""
    experiment, state = restore(config)
    put = functools.partial(sharding.put_batch, experiment.mesh)
    batches = eval_batches(experiment.splits.test, config.eval_batch_size)
    numbers = scalars(evaluate(state, batches, put, experiment.eval_step))
    print(
        f"step {int(state.step)}: {len(experiment.splits.test):,} images, "
        f"test loss {numbers['loss']:.4f}, top-5 {numbers['top5']:.2f} %"
    )
    print(f"test top-1 {numbers['top1']:.2f} %")
    return 0


def predict(config: Config, what: Predict) -> int:
    """Prints the classes of images and draws them; returns the exit code."""
    for path in what.images:
        _check_image(Path(path))
    experiment, state = restore(config)
    test = experiment.splits.test
    if what.images:
        paths = [Path(path) for path in what.images]
        images = np.stack([read_image(path, test.image_shape) for path in paths])
        names, labels = what.images, None
    else:
        images, labels = test.images[: what.count], test.labels[: what.count]
        names = [f"test image {i}" for i in range(len(images))]
    probabilities, queries = look(experiment, state, images)
    for name, row in zip(names, probabilities, strict=True):
        print(f"{name}: {_say(row, test.class_names)}")
    output = Path(what.output or experiment.workdir / "predict.png")
    n = min(len(images), DRAWN)
    plots.predictions(
        output,
        images[:n],
        None if labels is None else labels[:n],
        probabilities[:n],
        test.class_names,
        {stage: points[:n] for stage, points in queries.items()},
    )
    print(f"picture of {n}: {output}")
    return 0


def restore(config: Config) -> tuple[Experiment, TrainState]:
    """The experiment and the last state that its run saved."""
    experiment = build(config)
    folder = experiment.workdir / "checkpoints"
    if not folder.is_dir():
        raise CheckpointError(
            f"no run in {experiment.workdir}. Train first: python -m train fit …, with "
            "the same config and --workdir."
        )
    check_same(experiment.workdir, config, FREE_TO_USE)
    state, _ = Checkpoints(folder).restore(experiment.abstract_state)
    return experiment, state


def look(experiment: Experiment, state: TrainState, images: np.ndarray):
    """Probabilities (n, k) of uint8 images, and each stage's last PRM's query points.

    The points are those of `prm_flax.figures.maps.stage_queries`; none where the
    network has no PRM.
    """
    padding = -len(images) % experiment.mesh.size
    padded = np.pad(images, ((0, padding), (0, 0), (0, 0), (0, 0)))
    placed = sharding.put_batch(experiment.mesh, {"image": padded})["image"]
    logits = experiment.predict_step(state, placed)[: len(images)]
    probabilities = np.asarray(jax.nn.softmax(logits.astype("float32")))
    if not experiment.config.model.name.startswith("prm_"):
        return probabilities, {}
    data = experiment.config.data
    ready = normalize(images, data.mean, data.std)
    return probabilities, maps.stage_queries(experiment.model, state.variables, ready)


def read_image(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """An image file as uint8 (h, w, c) of the data set's shape, resized if need be."""
    _check_image(path)
    height, width, channels = shape
    with Image.open(path) as image:
        plain = image.convert("L" if channels == 1 else "RGB")
        fitted = plain.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(fitted, np.uint8).reshape(shape)


def _check_image(path: Path) -> None:
    """Raises ValueError for a file that is not an image, or is too large for one."""
    try:
        with Image.open(path) as image:
            width, height = image.size
    except (OSError, Image.DecompressionBombError) as error:
        raise ValueError(f"images must be image files: {path}: {error}.") from error
    if width * height > LARGEST_IMAGE:
        raise ValueError(
            f"images must have at most {LARGEST_IMAGE:,} pixels: {path} has "
            f"{width} × {height}."
        )


def _say(probabilities: np.ndarray, names: tuple[str, ...], count: int = 5) -> str:
    best = np.argsort(-probabilities, kind="stable")[:count]
    return ", ".join(f"{names[k]} {100 * probabilities[k]:.1f} %" for k in best)
