"""Scenes are the same whenever they are made, and boxes are exact."""

import numpy as np
import pytest

from train.data.datasets.fashion_scenes import HIDDEN, VISIBLE, SceneRule, load_scenes

RULE = SceneRule(96, (2, 4), (1.0, 2.0))


@pytest.fixture(scope="module")
def scenes():
    return load_scenes(RULE, (40, 10), None, False)


def test_numbers_and_shapes(scenes):
    assert (len(scenes.train), len(scenes.test)) == (40, 10)
    assert scenes.train.read(3).shape == (96, 96, 3)
    assert {len(image.labels) for image in scenes.train.images} <= {1, 2, 3, 4}


def test_the_same_scene_every_time(scenes):
    again = load_scenes(RULE, (50, 10), None, False)
    assert (scenes.train.read(7) == again.train.read(7)).all()
    assert (scenes.train.images[7].boxes == again.train.images[7].boxes).all()
    assert scenes.train.digest != again.train.digest
    assert scenes.test.digest == again.test.digest
    assert (scenes.train.read(0) != scenes.test.read(0)).any()


def test_a_box_ends_where_its_item_does(scenes):
    for index in range(20):
        placed = scenes.train.read.placed(index)
        for item, box in zip(placed, scenes.train.images[index].boxes, strict=True):
            seen = item.pixels >= VISIBLE
            x1, y1, x2, y2 = (box - [item.x, item.y, item.x, item.y]).astype(int)
            assert seen[y1:y2, x1:x2].sum() == seen.sum()
            edges = seen[y1, :], seen[y2 - 1, :], seen[:, x1], seen[:, x2 - 1]
            assert all(edge.any() for edge in edges)


def test_no_item_is_hidden(scenes):
    for image in scenes.train.images:
        for i, box in enumerate(image.boxes):
            for later in image.boxes[i + 1 :]:
                sides = np.minimum(box[2:], later[2:]) - np.maximum(box[:2], later[:2])
                assert np.prod(np.maximum(sides, 0)) <= HIDDEN * np.prod(
                    box[2:] - box[:2]
                )


@pytest.mark.parametrize("changes", [{"items": (0, 3)}, {"scale": (1.0, 9.0)}])
def test_a_rule_that_cannot_be(changes):
    with pytest.raises(ValueError, match=r"data\.scene_"):
        SceneRule(**RULE.__dict__ | changes)
