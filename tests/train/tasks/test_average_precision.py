"""The twelve numbers are the public COCO API's to the digit."""

import json

import numpy as np
import pytest
from etils import epath
from support import golden

from prm_flax.detection import Detections
from train.data.boxes.annotations import Annotated
from train.data.boxes.input import Truth
from train.tasks.average_precision import DetectionEvaluator, average_precision

FILE = json.loads((golden.PUBLIC / "coco_eval.json").read_text())


def truth():
    stated = FILE["ground_truth"]
    numbers = [each["id"] for each in stated["categories"]]
    images = []
    for image in stated["images"]:
        own = [a for a in stated["annotations"] if a["image_id"] == image["id"]]
        boxes = np.array([a["bbox"] for a in own], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        images.append(
            Annotated(
                str(image["id"]),
                image["id"],
                (image["height"], image["width"]),
                boxes,
                np.array([numbers.index(a["category_id"]) for a in own], np.int32),
                np.array([a["iscrowd"] for a in own], bool),
                np.array([a["area"] for a in own], np.float64),
            )
        )
    names = tuple(each["name"] for each in stated["categories"])
    return Truth(images, names, tuple(numbers))


def test_the_golden_file():
    found = average_precision(truth(), FILE["detections"])
    assert found.numbers.keys() == FILE["stats"].keys()
    for name, want in FILE["stats"].items():
        assert found.numbers[name] == pytest.approx(want, abs=1e-12), name
    numbers = truth().category_ids
    for number, value in zip(numbers, found.by_class.values(), strict=True):
        want = FILE["ap_per_category"][str(number)]
        assert value == pytest.approx(want, abs=1e-12)
        curve = found.curve[:, numbers.index(number)]
        want = FILE["precision_iou50_all_max100"][str(number)]
        np.testing.assert_allclose(curve, want, atol=1e-12)


def evaluator(batch=2):
    """The golden file's boxes as a detector would give them, batch by batch."""
    known, places = truth(), 150
    made = DetectionEvaluator(known)
    for start in range(0, len(known.images), batch):
        rows = range(start, start + batch)
        outputs = Detections(
            np.zeros((batch, places, 4)),
            np.zeros((batch, places)),
            np.zeros((batch, places), int),
            np.zeros((batch, places), bool),
        )
        mask = np.array([row < len(known.images) for row in rows], np.float32)
        for row, index in enumerate(rows):
            if mask[row]:
                image = known.images[index].id
                own = [d for d in FILE["detections"] if d["image_id"] == image]
                for place, each in enumerate(own):
                    x, y, w, h = each["bbox"]
                    outputs.boxes[row, place] = x, y, x + w, y + h
                    outputs.scores[row, place] = each["score"]
                    label = known.category_ids.index(each["category_id"])
                    outputs.labels[row, place] = label
                    outputs.valid[row, place] = True
        index = np.array([row if m else -1 for row, m in zip(rows, mask, strict=True)])
        made.add(outputs, {"mask": mask, "index": index})
    return made


def test_an_evaluation_in_batches_in_percent(tmp_path):
    made = evaluator()
    numbers = made.result()
    assert numbers["AP"] == pytest.approx(100 * FILE["stats"]["AP"], abs=1e-3)
    made.write(epath.Path(tmp_path))
    written = json.loads((tmp_path / "results.json").read_text())
    assert len(written) == len(FILE["detections"])
    assert written[0].keys() == FILE["detections"][0].keys()
    shown = json.loads((tmp_path / "precision.json").read_text())
    assert [*shown["AP by class"]] == [*truth().class_names]
    assert np.shape(shown["precision at recalls"]) == (5, 101)
    again = average_precision(truth(), written)
    assert 100 * again.numbers["AP50"] == pytest.approx(numbers["AP50"])


def test_no_image_counts_twice():
    made = evaluator()
    nothing = Detections(*(np.zeros((1, 1, 4)), *(np.zeros((1, 1), bool),) * 3))
    with pytest.raises(RuntimeError, match="evaluated twice"):
        made.add(nothing, {"mask": np.ones(1), "index": np.zeros(1, int)})


def test_nothing_found_and_nothing_to_find():
    assert average_precision(truth(), []).numbers["AP"] == 0
    parts = ("boxes", "labels", "crowd", "areas")
    none = [
        image._replace(**{part: getattr(image, part)[:0] for part in parts})
        for image in truth().images
    ]
    empty = truth()._replace(images=none)
    assert DetectionEvaluator(empty).result()["AP"] == -1
    assert average_precision(empty, FILE["detections"]).numbers["AP50"] == -1
