"""Scenes of Fashion-MNIST: real items at random places and scales, with exact boxes.

Items of ten classes lie on a dark, uneven ground, later ones over earlier ones, never
hiding more than a part of any; fragments of other items lie between. Every scene is a
function of (split, number) alone: nothing is on disk but Fashion-MNIST itself. Items of
the test scenes are those of its test images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from train.data.boxes.annotations import Annotated, BoxSet, BoxSplits
from train.data.boxes.files import from_one
from train.data.datasets.fashion_mnist import CLASS_NAMES, load_fashion_mnist
from train.data.records.arrays import ArraySource
from train.data.rng import below, unit, words_at

SIDE = 28  # of an item
VISIBLE = 26  # least brightness of what counts as the item
HIDDEN = 0.5  # share of an item's box that later ones may cover, at most
TRIES = 4
# Random words of an item: which, how large, and two for each try of a place.
WORDS = 2 + 2 * TRIES
MOST = 20
FRAGMENT = 10  # pixels of a fragment's side


@dataclass(frozen=True)
class SceneRule:
    """How scenes are made.

    Attributes:
        side: pixels of a scene's sides.
        items: least and most items.
        scale: of an item's 28 pixels, least and most.
        fragments: pieces of other items, without a box.
    """

    side: int
    items: tuple[int, int]
    scale: tuple[float, float]
    fragments: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.items[0] <= self.items[1] <= MOST:
            raise ValueError(
                f"data.scene_items must be 1 ≤ least ≤ most ≤ {MOST}, got {self.items}."
            )
        if not 0 < self.scale[0] <= self.scale[1] <= self.side / SIDE:
            raise ValueError(
                "data.scene_scale must be 0 < least ≤ most, and an item within the "
                f"scene of {self.side} pixels, got {self.scale}."
            )


class Placed(NamedTuple):
    """One item of a scene: which, its pixels (n, n), where its upper left is."""

    item: int
    pixels: np.ndarray
    x: int
    y: int

    @property
    def box(self) -> np.ndarray:
        """x1, y1, x2, y2 of what can be seen of it alone."""
        rows, columns = np.nonzero(self.pixels >= VISIBLE)
        low = np.array([columns.min() + self.x, rows.min() + self.y])
        high = np.array([columns.max() + 1 + self.x, rows.max() + 1 + self.y])
        return np.concatenate([low, high]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Scenes:
    """Scenes by number.

    Attributes:
        items: uint8 (n, 28, 28).
        rule: how they are made.
        stream: of random numbers, the split's own.
    """

    items: np.ndarray
    rule: SceneRule
    stream: str

    def __call__(self, index: int) -> np.ndarray:
        """The scene's pixels uint8 (side, side, 3)."""
        scene = self._ground(index)
        for each in self.placed(index):
            n = len(each.pixels)
            part = scene[each.y : each.y + n, each.x : each.x + n]
            seen = each.pixels >= VISIBLE
            part[seen] = each.pixels[seen]
        return np.repeat(scene[..., None], 3, axis=2)

    def placed(self, index: int) -> list[Placed]:
        """Its items, in the order in which they are laid down."""
        least, most = self.rule.items
        first = words_at(0, 0, f"{self.stream} count", index, 1)
        count = least + int(below(most - least + 1, first)[0])
        draws = words_at(0, 0, self.stream, index, count * WORDS).reshape(count, WORDS)
        found: list[Placed] = []
        for own in draws:
            item = int(below(len(self.items), own[:1])[0])
            pixels = self._enlarged(item, unit(own[1:2])[0])
            places = below(self.rule.side - len(pixels) + 1, own[2:]).reshape(TRIES, 2)
            tries = (Placed(item, pixels, int(x), int(y)) for x, y in places)
            fitting = (t for t in tries if _leaves_seen(t.box, [p.box for p in found]))
            placed = next(fitting, None)
            if placed is not None:
                found.append(placed)
        return found

    def _enlarged(self, item: int, share: float) -> np.ndarray:
        least, most = self.rule.scale
        side = round(SIDE * (least + share * (most - least)))
        return cv2.resize(
            self.items[item], (side, side), interpolation=cv2.INTER_LINEAR
        )

    def _ground(self, index: int) -> np.ndarray:
        """Uneven darkness with fragments of items."""
        side, count = self.rule.side, self.rule.fragments
        draws = words_at(0, 0, f"{self.stream} ground", index, 16 + 3 * count)
        rough = (unit(draws[:16]) * 60).astype(np.uint8).reshape(4, 4)
        ground = cv2.resize(rough, (side, side), interpolation=cv2.INTER_LINEAR)
        for own in draws[16:].reshape(count, 3):
            item = self.items[below(len(self.items), own[:1])[0]]
            x, y = below(side - FRAGMENT + 1, own[1:])
            piece = item[9 : 9 + FRAGMENT, 9 : 9 + FRAGMENT]
            ground[y : y + FRAGMENT, x : x + FRAGMENT] = piece
        return ground


def _leaves_seen(box: np.ndarray, others: Sequence[np.ndarray]) -> bool:
    """Whether an item leaves enough of each earlier one to be seen."""
    for other in others:
        low, high = np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])
        covered = np.prod(np.maximum(high - low, 0))
        if covered > HIDDEN * min(
            np.prod(other[2:] - other[:2]), np.prod(box[2:] - box[:2])
        ):
            return False
    return True


def load_scenes(
    rule: SceneRule, counts: tuple[int, int], root: str | None, fetch: bool
) -> BoxSplits:
    """Scenes to train and to test on.

    Args:
        rule: how they are made.
        counts: how many of each.
        root: folder of Fashion-MNIST's files, or None.
        fetch: whether they may be fetched.
    """
    found = load_fashion_mnist(root, fetch)
    train, test = (
        _split(source, rule, count, name)
        for source, count, name in zip(found, counts, ("train", "test"), strict=True)
    )
    return BoxSplits(train, test)


def _split(source: ArraySource, rule: SceneRule, count: int, name: str) -> BoxSet:
    scenes = Scenes(source.images.reshape(-1, SIDE, SIDE), rule, f"scenes {name}")
    images = [_stated(scenes, source.labels, index) for index in range(count)]
    return BoxSet(images, CLASS_NAMES, from_one(CLASS_NAMES), scenes)


def _stated(scenes: Scenes, labels: np.ndarray, index: int) -> Annotated:
    placed = scenes.placed(index)
    boxes = np.array([each.box for each in placed], np.float32).reshape(-1, 4)
    sides = (boxes[:, 2:] - boxes[:, :2]).astype(float)
    side = scenes.rule.side
    return Annotated(
        f"{scenes.stream} {index}",
        index,
        (side, side),
        boxes,
        np.array([labels[each.item] for each in placed], np.int32),
        np.zeros(len(placed), bool),
        sides.prod(axis=1),
    )
