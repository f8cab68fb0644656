"""Sets in COCO's format: a JSON file of images, boxes, categories, and a folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from train.data.boxes.annotations import (
    BoxSet,
    BoxSplits,
    Stated,
    Strictness,
    annotated,
    read_json,
)
from train.data.boxes.files import Limits, below, set_of_files
from train.data.images.decode import BadImage
from train.data.input import DataError

PARTS = ("images", "annotations", "categories")


def load_coco(
    root: Path,
    train: tuple[str, str],
    test: tuple[str, str],
    limits: Limits,
    skip: bool = False,
) -> BoxSplits:
    """Opens both splits; no image is read.

    Args:
        root: folder of the set.
        train: the annotations' file and the images' folder, below root.
        test: likewise.
        limits: of an image file.
        skip: whether what is bad is left out; else it is an error.

    Raises:
        DataError: a file is missing or broken, what it states is bad, or the two have
            other classes.
    """
    splits = BoxSplits(
        *(
            read_split(root / json, root / folder, limits, skip)
            for json, folder in (train, test)
        )
    )
    require_same_classes(splits)
    return splits


def read_split(file: Path, folder: Path, limits: Limits, skip: bool) -> BoxSet:
    """One JSON file and its images' folder."""
    stated = read_json(file)
    _require_parts(file, stated)
    if not folder.is_dir():
        raise DataError(f"{folder} must hold the images of {file.name}: there is none.")
    strict = Strictness(skip, str(file))
    try:
        return _split(stated, folder, limits, strict)
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{file} is not in COCO's format: {type(error).__name__}: {error}."
        ) from error


def _require_parts(file: Path, stated: Any) -> None:
    missing = [p for p in PARTS if not isinstance(stated, Mapping) or p not in stated]
    if missing:
        raise DataError(
            f"{file} must be an object with {', '.join(PARTS)}, as COCO's files of "
            f"instances are; it has no {', '.join(missing)}."
        )


def _split(stated: Any, folder: Path, limits: Limits, strict: Strictness) -> BoxSet:
    categories = sorted(stated["categories"], key=lambda each: each["id"])
    labels = {each["id"]: label for label, each in enumerate(categories)}
    if len(labels) < len(categories):
        raise DataError(f"{strict.where} lists a category's id twice.")
    boxes = _boxes_by_image(stated, labels, strict)
    images, paths, seen = [], [], set()
    for each in stated["images"]:
        name = str(each["file_name"])
        if each["id"] in seen:
            strict.refuse("image whose id another has", name)
            continue
        seen.add(each["id"])
        try:
            path = below(folder, name)
        except BadImage:
            strict.refuse("image outside of its folder", name)
            continue
        if not path.is_file():
            strict.refuse("image that is not there", name)
            continue
        size = int(each["height"]), int(each["width"])
        found = annotated(
            name, int(each["id"]), size, boxes.pop(each["id"], ()), strict
        )
        images.append(found)
        paths.append(str(path))
    for lost in boxes.values():
        for _ in lost:
            strict.refuse("box of an image that is not listed", "annotations")
    names = tuple(str(each["name"]) for each in categories)
    return set_of_files(images, paths, names, tuple(labels), limits, strict)


def _boxes_by_image(
    stated: Any, labels: Mapping[int, int], strict: Strictness
) -> dict[int, list[Stated]]:
    found: dict[int, list[Stated]] = {}
    seen = set()
    for each in stated["annotations"]:
        name = f"annotation {each.get('id')}"
        if each.get("id") in seen:
            strict.refuse("annotation whose id another has", name)
            continue
        seen.add(each.get("id"))
        if each["category_id"] not in labels:
            strict.refuse(f"category {each['category_id']} that is not listed", name)
            continue
        area = each.get("area")
        found.setdefault(each["image_id"], []).append(
            Stated(
                each["bbox"],
                labels[each["category_id"]],
                bool(each.get("iscrowd", 0)),
                None if area is None else float(area),
            )
        )
    return found


def require_same_classes(splits: BoxSplits) -> None:
    """Raises DataError where the two splits have other classes."""
    train, test = splits.train.class_names, splits.test.class_names
    if train != test:
        raise DataError(
            f"both splits of a set must have the same classes: {len(train)} to train "
            f"on, {len(test)} to test on; one alone has "
            f"{', '.join(sorted({*train} ^ {*test})) or 'another order'}."
        )
