"""Pictures of a detector: boxes on images of any sizes, curves with gaps."""

import numpy as np
import pytest
from PIL import Image

from prm_flax.figures.boxes import Found, curves, detections, precision_recall

NAMES = ("cat", "a very long name of a dog that nobody would call", "日本")


def found(count):
    boxes = np.array([[2.0 * i, 3, 20 + i, 25] for i in range(count)]).reshape(-1, 4)
    return Found(boxes, np.arange(count) % 3, np.linspace(0.9, 0.4, count))


def drawn(path):
    pixels = np.asarray(Image.open(path).convert("RGB"), int)
    return len(np.unique(pixels.reshape(-1, 3), axis=0))


@pytest.mark.parametrize("count", [1, 5])
def test_images_of_other_sizes_with_and_without_boxes(tmp_path, count):
    images = [np.full((30 + 5 * i, 50, 3), 40, np.uint8) for i in range(count)]
    each = [found(i % 3) for i in range(count)]
    truth = [(f.boxes, f.labels) for f in each]
    for number, given in enumerate((None, truth)):
        path = tmp_path / f"{number}.png"
        detections(path, images, each, NAMES, given)
        assert drawn(path) > 20


def test_every_image_has_its_boxes(tmp_path):
    with pytest.raises(ValueError, match="1 images, 0 sets"):
        detections(tmp_path / "a.png", [np.zeros((9, 9, 3), np.uint8)], [], NAMES)


def test_curves_before_the_first_test(tmp_path):
    train = [{"epoch": 0.1, "loss": 2.0, "loss_cls": 1.0}]
    curves(tmp_path / "a.png", train, [], ["loss_cls"])
    curves(tmp_path / "b.png", [], [{"epoch": 1, "AP": -1.0, "AP50": None}], [])
    assert (tmp_path / "a.png").exists() and (tmp_path / "b.png").exists()


@pytest.mark.parametrize("classes", [1, 3, 30])
def test_precision_of_few_and_of_many_classes(tmp_path, classes):
    by_class = {f"class {k}": k / classes if k else -1.0 for k in range(classes)}
    rows = np.linspace(1, 0, 101)[None] * np.ones((classes, 1))
    precision_recall(tmp_path / "a.png", by_class, rows)
    assert drawn(tmp_path / "a.png") > 1
