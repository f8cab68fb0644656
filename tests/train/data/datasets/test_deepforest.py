"""Tiles of a photograph: every tree in one, boxes moved and cut with it."""

import cv2
import numpy as np
import pytest

from train.data.boxes.annotations import BoxSplits
from train.data.boxes.files import Limits
from train.data.boxes.input import places_for
from train.data.datasets import deepforest
from train.data.datasets.deepforest import SIDE, STEP, TEST, TRAIN, TREES, load_trees
from train.data.input import DataError
from train.tasks.detection_setup import NUMBERS

OBJECT = (
    "<object><name>{}</name><difficult>0</difficult><bndbox><xmin>{}</xmin>"
    "<ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)
ROWS, COLUMNS = 700, 1000


@pytest.fixture
def root(tmp_path):
    """Photographs of noise with a tree in each corner and one in the middle."""
    drawn = np.random.default_rng(0)
    for name in (*TRAIN, *TEST):
        small = name in TEST
        h, w = (SIDE, SIDE) if small else (ROWS, COLUMNS)
        cv2.imwrite(
            str(tmp_path / f"{name}.png"), drawn.integers(0, 256, (h, w, 3), np.uint8)
        )
        at = [(1, 1), (w - 29, h - 29), (w // 2, h // 2)]
        text = "".join(
            OBJECT.format(kind, x, y, x + 29, y + 29)
            for kind, (x, y) in zip(("Tree", "Dead", "Alive"), at, strict=True)
        )
        (tmp_path / f"{name}.xml").write_text(f"<annotation>{text}</annotation>")
    return tmp_path


def test_tiles_cover_the_photograph_and_keep_its_trees(root):
    train, test = load_trees(root, Limits())
    starts = [0, STEP, ROWS - SIDE], [0, STEP, 2 * STEP, COLUMNS - SIDE]
    assert len(train) == 2 * len(starts[0]) * len(starts[1])
    assert len(test) == 2
    assert [len(image.labels) for image in test.images] == [3, 3]
    corners = [image for image in train.images if image.name.endswith(" at 0, 0")]
    assert [len(image.labels) for image in corners] == [1, 1]
    everywhere = {
        tuple(box + np.array([tile.x, tile.y] * 2))
        for tile, image in zip(train.read.tiles, train.images, strict=True)
        for box in image.boxes
        if (box > 0).all() and (box < SIDE).all()
    }
    x, y = COLUMNS / 2, ROWS / 2
    assert (x - 1, y - 1, x + 29, y + 29) in everywhere


def test_a_tile_is_its_part_of_the_photograph(root):
    train, _ = load_trees(root, Limits())
    tile = train.read.tiles[5]
    whole = cv2.cvtColor(cv2.imread(tile.path), cv2.COLOR_BGR2RGB)
    assert (train.read(5) == whole[tile.y :, tile.x :][:SIDE, :SIDE]).all()


def test_a_tree_cut_to_less_than_half_is_none_of_the_tile_s(root):
    train, _ = load_trees(root, Limits())
    for tile, image in zip(train.read.tiles, train.images, strict=True):
        for box in image.boxes:
            assert (box[2] - box[0]) * (box[3] - box[1]) >= 450, (tile, box)


def test_a_missing_photograph_is_said(root):
    (root / f"{TEST[0]}.xml").unlink()
    deepforest._photograph.cache_clear()
    with pytest.raises(DataError, match=f"{TEST[0]}.xml"):
        load_trees(root, Limits())


@pytest.mark.skipif(
    bool(TREES.missing(TREES.packages[0])),
    reason="the photographs of trees are not on this machine: make trees",
)
def test_the_trees_of_the_package():
    train, test = load_trees(TREES.path, Limits())
    assert [len(image.labels) for image in test.images] == [61, 37]
    assert len(train) == 12 * 11 + 5 * 6 == NUMBERS["trees"].images
    assert places_for(BoxSplits(train, test), None) == NUMBERS["trees"].places
    assert train.images[0].size == (SIDE, SIDE)
