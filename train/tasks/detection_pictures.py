"""The pictures of a detector's report."""

import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from prm_flax.figures import boxes as drawing
from train.tasks.average_precision import PRECISION, RESULTS
from train.tasks.mistakes import cutout, mistakes
from train.tasks.task import Picture

DRAWN = 12  # images, or mistakes, in a picture


def _curves(path: Path, experiment: Any, state: Any, log: Any) -> None:
    names = experiment.task.loss_names
    drawing.curves(path, log.of("train"), log.of("test"), names)


def _detections(path: Path, experiment: Any, state: Any, log: Any) -> None:
    images, stated = experiment.input.sample(DRAWN)
    experiment.show(state, images, [each.name for each in stated], stated).draw(path)


def _precision(path: Path, experiment: Any, state: Any, log: Any) -> None:
    found = json.loads((experiment.workdir / PRECISION).read_text())
    by_class, curves = found.values()
    drawing.precision_recall(path, by_class, np.array(curves))


def _mistakes(path: Path, experiment: Any, state: Any, log: Any) -> None:
    truth = experiment.task.truth
    results = json.loads((experiment.workdir / RESULTS).read_text())
    found = mistakes(truth, results, DRAWN)
    if not found:
        raise ValueError("of the boxes that were found none is wrong.")
    read = experiment.input.splits.test.read
    cut = [cutout(each, read(each.number), truth.images[each.number]) for each in found]
    drawing.detections(
        path,
        [part.pixels for part in cut],
        [
            drawing.Found(part.box[None], np.array([m.label]), np.array([m.score]))
            for part, m in zip(cut, found, strict=True)
        ],
        truth.class_names,
        [(part.boxes, part.labels) for part in cut],
        least=0.0,
        titles=[each.why for each in found],
    )


PICTURES: MappingProxyType[str, Picture] = MappingProxyType(
    {
        "curves.png": Picture("each loss, and average precision", _curves),
        "precision_recall.png": Picture(
            "precision over recall at IoU 0.5, and AP, of each class", _precision
        ),
        "mistakes.png": Picture(
            "the most confident mistakes, and what is there", _mistakes
        ),
        "detections.png": Picture(
            "test images with boxes and ground truth", _detections
        ),
    }
)
