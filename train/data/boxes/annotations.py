"""Images and their boxes as a set states them, checked before anything is trained."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from train.data.digest import digest
from train.data.input import DataError

# Examples that a message names.
SHOWN = 3


class Annotated(NamedTuple):
    """One image and what is on it.

    Attributes:
        name: of its file, for messages.
        id: the set's own number of the image.
        size: height and width that the set states, pixels.
        boxes: float32 (n, 4) x1, y1, x2, y2, pixels of the image.
        labels: int32 (n,), places in the list of classes.
        crowd: bool (n,), which are crowds: regions with uncounted objects.
        areas: float64 (n,), of the objects, which may be less than their boxes'.
    """

    name: str
    id: int
    size: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray


@dataclass(frozen=True, eq=False)
class BoxSet:
    """One split of a set.

    Attributes:
        images: in the set's order.
        class_names: in the order of the labels.
        category_ids: the set's own number of each class.
        read: index -> pixels uint8 (h, w, 3), upright; BadImage if it cannot be read.
            Picklable.
        left_out: what was left out or changed, and how often.
    """

    images: Sequence[Annotated]
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    read: Callable[[int], np.ndarray]
    left_out: Counter = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def most_boxes(self) -> int:
        """Of any image."""
        return max((len(image.labels) for image in self.images), default=0)

    @property
    def digest(self) -> str:
        """Of the images, their boxes and the classes."""
        parts: list[Any] = [*self.class_names]
        for image in self.images:
            parts += [image.name, *image.size]
            parts += [image.boxes.tobytes(), image.labels.tobytes()]
            parts += [image.crowd.tobytes()]
        return digest(parts)


class BoxSplits(NamedTuple):
    """The two splits of a set, of the same classes."""

    train: BoxSet
    test: BoxSet


class Strictness:
    """Collects what is wrong with a set: refused by name and count, or left out.

    Args:
        skip: whether bad images and boxes are left out; else they are errors.
        where: the set, for messages.
    """

    def __init__(self, skip: bool, where: str):
        self.skip, self.where = skip, where
        self.bad: dict[str, list[str]] = {}
        self.changed: Counter = Counter()

    def refuse(self, problem: str, name: str) -> None:
        """Notes something bad, such as a box that is not finite."""
        self.bad.setdefault(problem, []).append(name)

    def note(self, change: str) -> None:
        """Notes what every reader of such sets leaves out or changes."""
        self.changed[change] += 1

    def finish(self) -> Counter:
        """What was left out or changed.

        Raises:
            DataError: something is bad, and nothing may be skipped.
        """
        if self.bad and not self.skip:
            lines = (f"{len(n):,} × {what}: {_some(n)}" for what, n in self.bad.items())
            raise DataError(
                f"{self.where} has\n  "
                + "\n  ".join(lines)
                + "\nMend the set, or train without these: --data.on-bad-image skip."
            )
        counts = {what: len(names) for what, names in self.bad.items()}
        return self.changed + Counter(counts)


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more:,} more" if more > 0 else "")


class Stated(NamedTuple):
    """A box as a set states it: x, y, width, height, pixels."""

    box: Sequence[float]
    label: int
    crowd: bool = False
    area: float | None = None


def annotated(
    name: str,
    number: int,
    size: tuple[int, int],
    stated: Iterable[Stated],
    strict: Strictness,
) -> Annotated:
    """An image with those of its boxes that are some.

    Left out are boxes of less than a pixel of width or height and those outside the
    image, as the references do; what sticks out is cut off. Boxes that are not finite
    are bad.
    """
    boxes, labels, crowd, areas = [], [], [], []
    height, width = size
    for each in stated:
        try:
            x, y, w, h = (float(number) for number in each.box)
        except (TypeError, ValueError):
            strict.refuse("box that is not four numbers", name)
            continue
        if not np.isfinite([x, y, w, h]).all():
            strict.refuse("box that is not finite", name)
            continue
        if w < 1 or h < 1:
            strict.note("boxes of less than a pixel")
            continue
        cut = [max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)]
        if cut[2] <= cut[0] or cut[3] <= cut[1]:
            strict.note("boxes outside of their image")
            continue
        if cut != [x, y, x + w, y + h]:
            strict.note("boxes cut at the border of their image")
        boxes.append(cut)
        labels.append(each.label)
        crowd.append(each.crowd)
        areas.append(w * h if each.area is None else each.area)
    if any(crowd):
        strict.changed["crowds"] += sum(crowd)
    return Annotated(
        name,
        number,
        size,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(labels, np.int32),
        np.array(crowd, bool),
        np.array(areas, np.float64),
    )


def read_json(path: Path) -> Any:
    """A JSON file.

    Raises:
        DataError: there is none, or it is broken; with the line.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path} is not there. Is data.root right?") from error
    except ValueError as error:
        raise DataError(f"{path} is no JSON, or cut: {error}.") from error
