"""Trees from above: four aerial photographs of forests, every crown in a box.

PyPI's package deepforest has them (MIT licence; Weinstein et al., Methods in Ecology
and Evolution 2020; photographs of the US National Ecological Observatory Network). The
two large ones, of Yellowstone, are cut into overlapping tiles to train on; the two
small ones, of Florida and of California, are tested on: other forests, the honest way.
`python -m train.data.datasets.deepforest` fetches them.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from train.data.boxes.annotations import (
    Annotated,
    BoxSet,
    BoxSplits,
    Strictness,
    annotated,
)
from train.data.boxes.files import Limits, from_one
from train.data.datasets.packages import Package, PackageFolder
from train.data.datasets.voc import objects_of, read_xml
from train.data.download import Content
from train.data.images.decode import decode
from train.data.records.base import read_file

CLASS_NAMES = ("tree",)
# The names that the files have: one photograph's trees are told to be dead or alive.
LABELS = MappingProxyType({"Tree": 0, "Dead": 0, "Alive": 0})
TRAIN = (
    "2019_YELL_2_528000_4978000_image_crop2",
    "2019_YELL_2_541000_4977000_image_crop",
)
TEST = ("OSBS_029", "SOAP_061")
SIDE = 400  # pixels of a tile, and of the test photographs
STEP = 200  # from a tile to the next
# Share of a tree's box that must be in a tile, or it is none of the tile's.
LEAST = 0.5

# Bytes and SHA-256 of each photograph and of its annotations.
_FILES = """
2019_YELL_2_528000_4978000_image_crop2.png 15333493
  a9bdb0f4447fdd899d22f567e0e20ba8320c5413b2ad0cd0ac8d9f3b6e0f9767
2019_YELL_2_528000_4978000_image_crop2.xml 193359
  bd431af6a5086d721eb731b22f5ea28cd8a8eab06883efc1c665391acbc68e11
2019_YELL_2_541000_4977000_image_crop.png 2889166
  178e58a23cc2642226a364a30f71bd9258ddc1b012c826f12250914a90c7a131
2019_YELL_2_541000_4977000_image_crop.xml 93452
  cefe4b96888bacbf8af1674f000082e549aa707aa6590d545effb23e43f26631
OSBS_029.png 412520
  d9477c6a00e4902c7bee487d4c5582c3b8b9a2f77f3908a29628b816b291e6ee
OSBS_029.xml 20526
  1f68c4011d7b351c29ca755072e77f3d16e6fd1f995bd05a9dd4eb952b55373c
SOAP_061.png 369701
  256508f1a62149bec4a80879077a865caf50e8cace095e6564c76befa480d424
SOAP_061.xml 12556
  4833280af75fd9c47965a93e38945282835e9e725cac412bdb9469d63480947c
"""


def _files() -> dict[str, Content]:
    words = iter(_FILES.split())
    return {
        name: Content(int(n), sha)
        for name, n, sha in zip(words, words, words, strict=True)
    }


TREES = PackageFolder(
    "trees",
    (
        Package(
            "deepforest==2.1.0",
            "four aerial photographs of trees (20 MB)",
            "deepforest/data",
            _files(),
        ),
    ),
    "make trees",
    "Of deepforest, MIT licence: Weinstein et al., doi:10.1111/2041-210X.13472.",
)


class Tile(NamedTuple):
    """A part of a photograph: its file, and where its upper left is."""

    path: str
    x: int
    y: int


@dataclass(frozen=True)
class TileReader:
    """Tiles by number.

    Attributes:
        tiles: in the order of the set.
        limits: of a photograph's file.
    """

    tiles: tuple[Tile, ...]
    limits: Limits

    def __call__(self, index: int) -> np.ndarray:
        """The pixels uint8 (400, 400, 3)."""
        tile = self.tiles[index]
        whole = _photograph(tile.path, self.limits)
        return whole[tile.y : tile.y + SIDE, tile.x : tile.x + SIDE]


@functools.lru_cache(maxsize=len(TRAIN + TEST))
def _photograph(path: str, limits: Limits) -> np.ndarray:
    return decode(read_file(path, limits.bytes), max_pixels=limits.pixels)


def load_trees(root: Path, limits: Limits, skip: bool = False) -> BoxSplits:
    """Tiles of two photographs to train on, two other photographs to test on.

    Args:
        root: the folder of the files, see `TREES`.
        limits: of a photograph's file.
        skip: whether what is bad is left out; else it is an error.
    """
    train, test = (_split(root, names, limits, skip) for names in (TRAIN, TEST))
    return BoxSplits(train, test)


def _split(root: Path, names: tuple[str, ...], limits: Limits, skip: bool) -> BoxSet:
    strict = Strictness(skip, str(root))
    tiles: list[Tile] = []
    images: list[Annotated] = []
    for name in names:
        path = root / f"{name}.png"
        height, width = _photograph(str(path), limits).shape[:2]
        tree = read_xml(path.with_suffix(".xml"))
        stated = objects_of(tree, LABELS)
        whole = annotated(name, 0, (height, width), stated, strict)
        for y in _starts(height):
            for x in _starts(width):
                tiles.append(Tile(str(path), x, y))
                images.append(_tile(whole, x, y, len(images)))
    left_out = strict.finish()
    reader = TileReader(tuple(tiles), limits)
    return BoxSet(images, CLASS_NAMES, from_one(CLASS_NAMES), reader, left_out)


def _starts(length: int) -> Iterator[int]:
    """Where tiles begin along a side: the last ends with it."""
    yield from range(0, length - SIDE, STEP)
    yield length - SIDE


def _tile(whole: Annotated, x: int, y: int, number: int) -> Annotated:
    """The part of a photograph's annotations that lies within a tile."""
    moved = whole.boxes - np.array([x, y, x, y], np.float32)
    boxes = np.clip(moved, 0, SIDE)
    inside = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    kept = inside >= LEAST * (moved[:, 2:] - moved[:, :2]).prod(axis=1)
    return Annotated(
        f"{whole.name} at {x}, {y}",
        number,
        (SIDE, SIDE),
        boxes[kept],
        whole.labels[kept],
        whole.crowd[kept],
        inside[kept].astype(np.float64),
    )


if __name__ == "__main__":
    TREES.print_checked()
