"""COCO's average precision of the boxes found on a whole set, by pycocotools.

Reference: Lin et al., ECCV 2014; https://cocodataset.org, its evaluation.
"""

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from etils import epath
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from train.data.boxes.buckets import NOBODY
from train.data.boxes.input import Truth
from train.tasks.voc_precision import voc_precision
from train.workdir.files import write_whole

# Name -> place among pycocotools' twelve numbers.
STATS: MappingProxyType[str, int] = MappingProxyType(
    {name: place for place, name in enumerate((
        "AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large",
        "AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large",
    ))}
)  # fmt: skip
RESULTS, PRECISION = "results.json", "precision.json"
NOTHING = -1.0  # of what there is no ground truth for


class Precision(NamedTuple):
    """What a set's boxes are worth.

    Attributes:
        numbers: the twelve by their names in `STATS`, shares; -1 without ground truth.
        by_class: AP of each class, likewise.
        curve: (recalls, classes), precision at IoU 0.5 over 101 recalls from 0 to 1.
    """

    numbers: dict[str, float]
    by_class: dict[str, float]
    curve: np.ndarray


def average_precision(truth: Truth, results: Sequence[Mapping[str, Any]]) -> Precision:
    """Compares boxes with the ground truth.

    Args:
        truth: of the set.
        results: in COCO's format: image_id, category_id, bbox (x, y, width, height),
            score; at most 100 of an image count.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # it reports its progress
        evaluation = COCOeval(_stated(truth), _found(truth, results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # (IoU, recall, class, area, detections)
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    per_class = [_mean(precision[:, :, k]) for k in range(precision.shape[2])]
    return Precision(
        {name: float(evaluation.stats[place]) for name, place in STATS.items()},
        dict(zip(truth.class_names, per_class, strict=True)),
        precision[0],
    )


def _mean(values: np.ndarray) -> float:
    there = values[values > NOTHING]
    return float(there.mean()) if there.size else NOTHING


def _stated(truth: Truth) -> COCO:
    annotations: list[dict[str, Any]] = []
    for image in truth.images:
        rows = zip(image.boxes, image.labels, image.crowd, image.areas, strict=True)
        for box, label, crowd, area in rows:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image.id,
                    "category_id": truth.category_ids[label],
                    "bbox": as_bbox(box),
                    "area": float(area),
                    "iscrowd": int(crowd),
                }
            )
    return _indexed(truth, annotations)


def _found(truth: Truth, results: Sequence[Mapping[str, Any]]) -> COCO:
    rows = [
        {
            **each,
            "id": number,
            "area": each["bbox"][2] * each["bbox"][3],
            "iscrowd": 0,
        }
        for number, each in enumerate(results, 1)
    ]
    return _indexed(truth, rows)


def _indexed(truth: Truth, annotations: list[dict[str, Any]]) -> COCO:
    made: Any = COCO()
    made.dataset = {
        "images": [{"id": image.id} for image in truth.images],
        "categories": [{"id": number} for number in truth.category_ids],
        "annotations": annotations,
    }
    made.createIndex()
    return made


def as_bbox(box: np.ndarray) -> list[float]:
    """x1, y1, x2, y2 -> x, y, width, height, as COCO has it."""
    x1, y1, x2, y2 = (float(number) for number in box)
    return [x1, y1, x2 - x1, y2 - y1]


class DetectionEvaluator:
    """Gathers the boxes of all images, each image once.

    Args:
        truth: what they are compared with.
    """

    def __init__(self, truth: Truth):
        self.truth = truth
        self.found: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self.ended: tuple[list[dict[str, Any]], Precision] | None = None

    def add(self, outputs: Any, batch: Mapping[str, np.ndarray]) -> None:
        """Takes `Detections` (b, …), index (b,) and mask (b,)."""
        for row in np.flatnonzero(batch["mask"]):
            index = int(batch["index"][row])
            if index in self.found or index == NOBODY:
                raise RuntimeError(f"image {index} was evaluated twice.")
            there = np.asarray(outputs.valid[row])
            parts = outputs.boxes[row], outputs.labels[row], outputs.scores[row]
            boxes, labels, scores = (np.asarray(part)[there] for part in parts)
            self.found[index] = boxes, labels, scores

    def results(self) -> list[dict[str, Any]]:
        """All boxes in COCO's format, in the order of the images."""
        made = []
        for index in sorted(self.found):
            image = self.truth.images[index].id
            for box, label, score in zip(*self.found[index], strict=True):
                made.append(
                    {
                        "image_id": image,
                        "category_id": int(self.truth.category_ids[label]),
                        "bbox": as_bbox(box),
                        "score": float(score),
                    }
                )
        return made

    def result(self) -> dict[str, float]:
        """COCO's twelve numbers and VOC's in percent; -1 without ground truth."""
        results = self.results()
        precision = average_precision(self.truth, results)
        self.ended = results, precision
        numbers = precision.numbers | {"AP50_voc": voc_precision(self.truth, results)}
        return {
            name: 100 * value if value >= 0 else NOTHING
            for name, value in numbers.items()
        }

    def write(self, folder: epath.Path) -> None:
        """Writes results.json, which COCO's server takes, and precision.json.

        Each is written whole, or not at all.
        """
        assert self.ended is not None
        results, precision = self.ended
        write_whole(folder / RESULTS, json.dumps(results).encode())
        shown = {
            "AP by class": precision.by_class,
            "precision at recalls": precision.curve.round(4).T.tolist(),
        }
        write_whole(folder / PRECISION, json.dumps(shown, indent=1).encode())
