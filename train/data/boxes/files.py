"""Image files of a set with boxes: read whole, of the size that the set states."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from train.data.boxes.annotations import Annotated, BoxSet, Strictness
from train.data.images.containers import read_header
from train.data.images.decode import BadImage, decode
from train.data.images.orientation import upright_size
from train.data.records.base import read_file

# What is taken for an image where a folder is looked through.
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


@dataclass(frozen=True)
class Limits:
    """What an image file may have: bytes, and pixels stated by its header."""

    bytes: int = 64 << 20
    pixels: int = 100_000_000


@dataclass(frozen=True, eq=False)
class FileReader:
    """Image files by number.

    Attributes:
        paths: of the files.
        sizes: height and width that the set states of each, upright.
        limits: of a file.
    """

    paths: Sequence[str]
    sizes: Sequence[tuple[int, int]]
    limits: Limits

    def __call__(self, index: int) -> np.ndarray:
        """The pixels uint8 (h, w, 3), upright.

        Raises:
            BadImage: it cannot be read, or has another size than the set states: its
                boxes would lie elsewhere.
        """
        limits = self.limits
        data = read_file(self.paths[index], limits.bytes)
        image = decode(data, max_pixels=limits.pixels)
        stated = self.sizes[index]
        if image.shape[:2] != stated:
            raise BadImage(
                f"its set states {stated[1]} × {stated[0]} pixels, it has "
                f"{image.shape[1]} × {image.shape[0]} upright: are its boxes those "
                "of the picture as it was stored, before Exif's turn?"
            )
        return image


def set_of_files(
    images: Sequence[Annotated],
    paths: Sequence[str],
    class_names: tuple[str, ...],
    category_ids: tuple[int, ...],
    limits: Limits,
    strict: Strictness,
) -> BoxSet:
    """A split whose images are files, `paths` of `images`; what is bad ends here."""
    reader = FileReader(paths, [image.size for image in images], limits)
    return BoxSet(images, class_names, category_ids, reader, strict.finish())


def from_one(class_names: Sequence[str]) -> tuple[int, ...]:
    """Numbers of classes where a set has none of its own."""
    return tuple(range(1, len(class_names) + 1))


def size_of(path: Path, limits: Limits) -> tuple[int, int]:
    """Height and width of an image file when upright, from its header.

    Raises:
        BadImage: it is no image.
    """
    return upright_size(read_header(read_file(path, limits.bytes), limits.pixels))


def below(root: Path, name: str) -> Path:
    """A file of a set: never outside of its folder.

    Raises:
        BadImage: the name leads out of it.
    """
    path = root / name
    if not path.resolve().is_relative_to(root.resolve()):
        raise BadImage(f"{name} leads out of {root}")
    return path


def _holds(*names: str) -> Callable[[Path], bool]:
    return lambda root: all((root / name).exists() for name in names)


def _has_class_folders(root: Path) -> bool:
    train = root / "train"
    return train.is_dir() and any(path.is_dir() for path in train.iterdir())


# data.source -> whether a folder looks like it.
SIGNS: MappingProxyType[str, Callable[[Path], bool]] = MappingProxyType(
    {
        "voc": _holds("Annotations", "ImageSets"),
        "yolo": _holds("images", "labels"),
        "coco": lambda root: any(root.glob("annotations/*.json")),
        "image_folder": _has_class_folders,
    }
)


def looks_like(root: Path) -> str | None:
    """The data.source that a folder looks like, or None.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("images", "labels"):
        ...         (Path(folder) / name).mkdir()
        ...     looks_like(Path(folder))
        'yolo'
    """
    if not root.is_dir():
        return None
    return next((name for name, sign in SIGNS.items() if sign(root)), None)
