"""What is drawn for a training image at each of its visits: window, size and flip."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from train.data.rng import below, unit, words_at


class Window(NamedTuple):
    """A part of an image: its upper left, its height and width, pixels."""

    y: int
    x: int
    height: int
    width: int


@dataclass(frozen=True)
class Augment:
    """How training images vary; all is a function of (seed, epoch, image).

    Attributes:
        flip: whether half of them are mirrored.
        least: the shorter side is drawn between this and the limit; None: the limit.
        crop: the least share of each side that a window keeps; 1: the whole image.
    """

    flip: bool = True
    least: int | None = None
    crop: float = 1.0

    def flips(self, seed: int, epoch: int, index: int) -> bool:
        """Whether the image is mirrored."""
        if not self.flip:
            return False
        return bool(words_at(seed, epoch, "flip", index, 1)[0] >> np.uint64(63))

    def limits(
        self, seed: int, epoch: int, index: int, limits: tuple[int, int]
    ) -> tuple[int, int]:
        """The limits of the sides, the first drawn."""
        if self.least is None:
            return limits
        word = words_at(seed, epoch, "box scale", index, 1)
        more = below(limits[0] - self.least + 1, word)[0]
        return self.least + int(more), limits[1]

    def window(
        self, seed: int, epoch: int, index: int, size: tuple[int, int]
    ) -> Window | None:
        """A part of an image (h, w) with its ratio; None for all of it."""
        if self.crop == 1:
            return None
        words = words_at(seed, epoch, "box window", index, 3)
        share = self.crop + (1 - self.crop) * unit(words[:1])[0]
        height, width = (max(round(side * share), 1) for side in size)
        y = int(below(size[0] - height + 1, words[1:2])[0])
        x = int(below(size[1] - width + 1, words[2:])[0])
        return Window(y, x, height, width)


def kept_within(boxes: np.ndarray, window: Window) -> np.ndarray:
    """Which of the boxes (n, 4) have their centre in a window: bool (n,)."""
    x, y = (boxes[:, :2] + boxes[:, 2:]).T / 2
    across = (x >= window.x) & (x < window.x + window.width)
    return across & (y >= window.y) & (y < window.y + window.height)


def moved_into(boxes: np.ndarray, window: Window) -> np.ndarray:
    """Boxes (n, 4) in a window's own pixels, cut at its border."""
    moved = boxes - np.array([window.x, window.y] * 2, np.float32)
    edge = np.array([window.width, window.height] * 2, np.float32)
    return np.clip(moved, 0, edge).astype(np.float32)
