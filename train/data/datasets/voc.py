"""Sets in Pascal VOC's format: Annotations/*.xml, JPEGImages, ImageSets/Main/*.txt.

Difficult objects are crowds here: neither wanted nor wrong, as in VOC's own evaluation.
VOC counts pixels from 1, and both ends of a box are in it: x = xmin - 1, and
width = xmax - xmin + 1.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree

from train.data.boxes.annotations import (
    BoxSet,
    BoxSplits,
    Stated,
    Strictness,
    annotated,
)
from train.data.boxes.files import SUFFIXES, Limits, from_one, set_of_files
from train.data.input import DataError


def load_voc(
    root: Path, train: str, test: str, limits: Limits, skip: bool = False
) -> BoxSplits:
    """Opens both splits; no image is read.

    Args:
        root: the folder with Annotations and JPEGImages.
        train: the split, ImageSets/Main/NAME.txt.
        test: likewise.
        limits: of an image file.
        skip: whether what is bad is left out; else it is an error.
    """
    parsed = [_parse(root, split) for split in (train, test)]
    names = sorted({o.findtext("name", "") for files in parsed for _, tree in files
                    for o in tree.iter("object")})  # fmt: skip
    if not names:
        raise DataError(f"{root} has no object in any of its XML files.")
    labels = {name: label for label, name in enumerate(names)}
    pairs = zip((train, test), parsed, strict=True)
    return BoxSplits(
        *(_split(root, split, files, labels, limits, skip) for split, files in pairs)
    )


def _parse(root: Path, split: str) -> list[tuple[str, ElementTree.Element]]:
    """Stem and tree of each image of a split."""
    listed = root / "ImageSets" / "Main" / f"{split}.txt"
    if not listed.is_file():
        raise DataError(f"{listed} must list the images of the split: it is not there.")
    stems = [
        line.split()[0] for line in listed.read_text().splitlines() if line.strip()
    ]
    return [(stem, read_xml(root / "Annotations" / f"{stem}.xml")) for stem in stems]


def read_xml(path: Path) -> ElementTree.Element:
    """The annotations of an image.

    Raises:
        DataError: the file cannot be read, or declares entities.
    """
    try:
        # Without entities: the parser of the standard library expands what a file
        # declares, so that a small one could fill the memory.
        text = path.read_text()
        if "<!ENTITY" in text:
            raise DataError(f"{path} declares entities, which annotations never need.")
        return ElementTree.fromstring(text)
    except (OSError, UnicodeError, ElementTree.ParseError) as error:
        raise DataError(f"{path} cannot be read as XML: {error}.") from error


def _split(root, split, files, labels, limits, skip) -> BoxSet:
    strict = Strictness(skip, f"{root}, split {split}")
    images, paths = [], []
    for number, (stem, tree) in enumerate(files):
        path = _image(root, tree.findtext("filename") or stem, stem)
        if path is None:
            strict.refuse("image that is not there", stem)
            continue
        size = _number(tree, "size/height"), _number(tree, "size/width")
        if None in size:
            strict.refuse("image without a size", stem)
            continue
        whole = int(size[0] or 0), int(size[1] or 0)
        images.append(
            annotated(path.name, number, whole, objects_of(tree, labels), strict)
        )
        paths.append(str(path))
    names = tuple(labels)
    return set_of_files(images, paths, names, from_one(names), limits, strict)


def _image(root: Path, name: str, stem: str) -> Path | None:
    folder = root / "JPEGImages"
    names = [Path(name).name, *(stem + suffix for suffix in SUFFIXES)]
    return next((folder / n for n in names if (folder / n).is_file()), None)


def objects_of(
    tree: ElementTree.Element, labels: Mapping[str, int]
) -> Iterator[Stated]:
    """The objects of an image, with the label of each name."""
    for each in tree.iter("object"):
        ends = [_number(each, f"bndbox/{n}") for n in ("xmin", "ymin", "xmax", "ymax")]
        x1, y1, x2, y2 = (float("nan") if end is None else end for end in ends)
        box = x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1
        difficult = each.findtext("difficult", "0").strip() == "1"
        yield Stated(box, labels[each.findtext("name", "")], difficult)


def _number(tree: ElementTree.Element, path: str) -> float | None:
    try:
        return float(tree.findtext(path, ""))
    except ValueError:
        return None
