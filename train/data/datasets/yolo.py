"""Sets in YOLO's format: images/SPLIT/*, labels/SPLIT/*.txt, data.yaml or classes.txt.

A line is a box: class, centre x, centre y, width, height, in shares of the image.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from train.data.boxes.annotations import (
    BoxSet,
    BoxSplits,
    Stated,
    Strictness,
    annotated,
)
from train.data.boxes.files import SUFFIXES, Limits, from_one, set_of_files, size_of
from train.data.images.decode import BadImage
from train.data.input import DataError


def load_yolo(
    root: Path, train: str, test: str, limits: Limits, skip: bool = False
) -> BoxSplits:
    """Opens both splits; of images the headers are read.

    Args:
        root: the folder with images and labels.
        train: the split, a folder of both.
        test: likewise.
        limits: of an image file.
        skip: whether what is bad is left out; else it is an error.
    """
    names = class_names(root)
    return BoxSplits(
        *(_split(root, split, names, limits, skip) for split in (train, test))
    )


def class_names(root: Path) -> tuple[str, ...]:
    """Of classes.txt, a name a line, or of the "names" in data.yaml.

    Raises:
        DataError: there is neither, or no names in it.
    """
    plain = root / "classes.txt"
    if plain.is_file():
        found = [line.strip() for line in plain.read_text().splitlines()]
    else:
        found = _names_of_yaml(root / "data.yaml")
    names = tuple(name for name in found if name)
    if not names:
        raise DataError(
            f"{root} must say its classes' names, one a line in classes.txt or as "
            "names: in data.yaml; it has none."
        )
    return names


def _names_of_yaml(path: Path) -> list[str]:
    """Of the three ways that such files have: [a, b], lines of - a, lines of 0: a."""
    if not path.is_file():
        return []
    text = path.read_text()
    inline = re.search(r"^names:\s*\[(.*?)\]", text, re.M | re.S)
    if inline:
        return [name.strip().strip("'\"") for name in inline[1].split(",")]
    block = re.search(r"^names:[^\S\n]*\n((?:[ \t-].*\n?)+)", text, re.M)
    lines = block[1].splitlines() if block else []
    return [re.sub(r"^\s*(-|\d+:)\s*", "", line).strip("'\" ") for line in lines]


def _split(root, split, names, limits, skip) -> BoxSet:
    folder = root / "images" / split
    if not folder.is_dir():
        raise DataError(f"{folder} must hold the images of the split: it is not there.")
    strict = Strictness(skip, f"{root}, split {split}")
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    images, paths = [], []
    for number, path in enumerate(files):
        try:
            size = size_of(path, limits)
        except BadImage as error:
            strict.refuse(f"image that cannot be read ({error})", path.name)
            continue
        lines = root / "labels" / split / f"{path.stem}.txt"
        stated = _boxes(lines, size, len(names), strict)
        images.append(annotated(path.name, number, size, stated, strict))
        paths.append(str(path))
    return set_of_files(images, paths, names, from_one(names), limits, strict)


def _boxes(
    path: Path, size: tuple[int, int], classes: int, strict: Strictness
) -> Iterator[Stated]:
    """No file is no box, as in YOLO's own programs."""
    height, width = size
    for line in path.read_text().splitlines() if path.is_file() else ():
        if not line.strip():
            continue
        try:
            label, x, y, w, h = line.split()[:5]
            number = int(float(label))
            box = [float(each) for each in (x, y, w, h)]
        except ValueError:
            strict.refuse("line that is not a class and four numbers", path.name)
            continue
        if not 0 <= number < classes:
            strict.refuse(f"class {number} that is not listed", path.name)
            continue
        x, y, w, h = (a * b for a, b in zip(box, (width, height) * 2, strict=True))
        yield Stated((x - w / 2, y - h / 2, w, h), number)
