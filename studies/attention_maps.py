"""Compares query points and position masks with Grad-CAM and the image's darkness.

Solar cells' defects are dark and local; nobody has drawn their outlines, so that
Grad-CAM and darkness stand in for them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.markdown import filled, grid
from prm_flax.figures import maps
from prm_flax.figures.weights import Weights, read_weights
from prm_flax.printable import markdown
from prm_flax.runs import read_config
from studies.agreement import block_means, correlations, ranks_at
from studies.bootstrap import bootstrap
from studies.probabilities import config_of, single_process
from studies.scoring import formatted
from train.workdir.trained import experiment_of_run

# Of the query points and the mask of an image; by chance 0.5, 0.5 and 0.
MEASURES = ("Grad-CAM's rank", "darkness' rank", "mask with Grad-CAM")
BATCH = 64


class AttentionScores(NamedTuple):
    """Of the test images, in the order of the data.

    Attributes:
        labels: (n,).
        class_names: of the labels.
        scores: stage -> (n, 3) float64, see `MEASURES`; nan where a map is constant.
    """

    labels: np.ndarray
    class_names: tuple[str, ...]
    scores: dict[str, np.ndarray]


def attention_scores(folder: Path) -> AttentionScores:
    """Scores a run's query points and masks on each of its test images.

    Of the last PRM of each stage: the mean over the heads of the query point's rank in
    Grad-CAM's map for the last class, and in the map of the pixels' darkness, each from
    0, the least, to 1; and the correlation of the mean position mask with Grad-CAM.

    Args:
        folder: of the finished run of a network with PRM.

    Raises:
        ValueError: the folder is not that of a finished run, or the network has no PRM.
        FileNotFoundError: the run's images are not here.
    """
    weights = read_weights(folder)
    config = single_process(config_of(read_config(folder)), folder)
    mean, std = np.array(config.data.mean), np.array(config.data.std)
    labels, found = [], []
    images_of = experiment_of_run(config).input
    for batch in images_of.test():
        shown = np.asarray(batch["mask"]) > 0
        pixels = np.asarray(batch["image"])[shown] / 255.0
        labels.append(np.asarray(batch["label"])[shown])
        images = ((pixels - mean) / std).astype(np.float32)
        for start in range(0, len(images), BATCH):
            part = slice(start, start + BATCH)
            found.append(_scores(weights, images[part], 1 - pixels[part].mean(-1)))
    stages = found[0]
    joined = {
        stage: np.concatenate([each[stage] for each in found]) for stage in stages
    }
    return AttentionScores(np.concatenate(labels), images_of.class_names, joined)


def _scores(
    weights: Weights, images: np.ndarray, darkness: np.ndarray
) -> dict[str, np.ndarray]:
    model, variables = weights.model, weights.variables
    points = maps.stage_queries(model, variables, images)
    masks = maps.stage_masks(model, variables, images)
    last_class = model.num_classes - 1
    cams = maps.grad_cam(model, variables, images, last_class).maps
    found = {}
    for stage, mask in masks.items():
        size = mask.shape[1:]
        scale = np.divide(images.shape[1:3], size)
        places = np.rint((points[stage] + 0.5) / scale - 0.5).astype(int)
        columns = [
            ranks_at(cams[stage], places),
            ranks_at(block_means(darkness, size), places),
            correlations(mask, cams[stage]),
        ]
        found[stage] = np.stack(columns, axis=1)
    return found


def markdown_table(runs: Sequence[Path], draws: int = 10_000) -> str:
    """A Markdown table: means over the images by run, class and stage.

    Args:
        runs: folders, as for `attention_scores`.
        draws: of the bootstrap over the images.
    """
    lines = [line for run in runs for line in _lines(run, draws)]
    note = (
        "By chance a rank is 0.5 and a correlation 0. Means over the test images, with "
        "intervals over other test images; images of a constant map are left out."
    )
    head = ["run", "images", "stage", *MEASURES]
    return f"{grid(head, lines)}\n\n{filled(note)}"


def _lines(run: Path, draws: int) -> list[list[str]]:
    found, lines = attention_scores(run), []
    for label, name in enumerate(found.class_names):
        for stage, scores in found.scores.items():
            values = scores[found.labels == label]
            cells = [_cell(column, draws) for column in values.T]
            lines.append([markdown(run.name), markdown(name), stage, *cells])
    return lines


def _cell(values: np.ndarray, draws: int) -> str:
    known = values[np.isfinite(values)]
    if not known.size:
        return "–"
    return f"{formatted(bootstrap(np.mean, known, draws=draws))}"
