"""A tree of image files: root/train/CLASS/*.jpg and root/val/CLASS/*.jpg.

The form in which ImageNet lies on most machines. Classes are numbered in the order of
their folders' names, so that ImageNet's get the numbers that everyone gives them.
"""

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from train.data.digest import digest
from train.data.records.base import (
    MAX_BYTES,
    Record,
    RecordSplits,
    locate,
    read_file,
    shorten,
)

SUFFIXES = (b".jpeg", b".jpg", b".png", b".webp", b".bmp")  # in upper case too
TEST_FOLDERS = ("val", "validation")
_THREADS = 16  # waiting for a disk or a network
_log = logging.getLogger(__name__)


class Listed(NamedTuple):
    """What lies in a class folder.

    Attributes:
        images: names of the image files, sorted.
        sizes: int64 (n,), their bytes.
        others: what is no image, with the folder.
    """

    images: list[bytes]
    sizes: np.ndarray
    others: list[str]

    @property
    def digest(self) -> str:
        """Of names and sizes."""
        return digest([b"\0".join(self.images), self.sizes])


@dataclass(frozen=True, eq=False)
class FolderRecords:
    """Image files in the order of their classes, then of their names.

    Attributes:
        folder: of the class folders.
        class_names: the class folders.
        starts: int64 (classes + 1,), number of each class's first image, then of all.
        names: of all n files, one after the other: a string object for each would take
            70 bytes more and be slow to send to other processes.
        ends: int64 (n + 1,), where each name begins in `names`, then where all end.
        digest: of the classes, and of the names and sizes of their images.
        max_bytes: of an image file.
    """

    folder: str
    class_names: tuple[str, ...]
    starts: np.ndarray
    names: bytes
    ends: np.ndarray
    digest: str
    max_bytes: int

    def __len__(self) -> int:
        """Number of images."""
        return int(self.starts[-1])

    def __getitem__(self, index: int) -> Record:
        """Read one image, as `Records` says.

        Args:
            index: from 0 to `len` - 1.

        Returns:
            The image with its label.

        Raises:
            BadImage: this one image is unreadable or too large.
            IndexError: there is no such image.
        """
        label, path = self._locate(index)
        data = read_file(path, self.max_bytes)
        return Record(data, label, _text(os.path.basename(path)))

    def name(self, index: int) -> str:
        """Say where an image lies, for messages.

        Args:
            index: as in `__getitem__`.

        Returns:
            Its path.
        """
        return _text(self._locate(index)[1])

    def _locate(self, index: int) -> tuple[int, bytes]:
        label, _ = locate(self.starts, index)
        name = self.names[self.ends[index] : self.ends[index + 1]]
        folder = os.fsencode(os.path.join(self.folder, self.class_names[label]))
        return label, os.path.join(folder, name)


def load_image_folder(root: str | Path, *, max_bytes: int = MAX_BYTES) -> RecordSplits:
    """List the images of a tree; links are followed.

    Args:
        root: the folder with train and with val or validation.
        max_bytes: of an image file.

    Returns:
        Train and test images.

    Raises:
        FileNotFoundError: there are no such folders.
        ValueError: there are no class folders, the two parts have different ones, or
            one is empty.
    """
    train, test = _parts(Path(root))
    class_names = _classes(train)
    _compare(class_names, _classes(test), test)
    return RecordSplits(
        train=_list(train, class_names, max_bytes),
        test=_list(test, class_names, max_bytes),
    )


def _parts(root: Path) -> tuple[Path, Path]:
    tests = [root / name for name in TEST_FOLDERS if (root / name).is_dir()]
    if not (root / "train").is_dir() or len(tests) != 1:
        found = sorted(os.listdir(root)) if root.is_dir() else ["no such folder"]
        raise FileNotFoundError(
            f"{root} must have the folder train and one of {' and '.join(TEST_FOLDERS)}"
            f", of class folders: got {shorten(found) or 'an empty folder'}; correct "
            "the folder, or unpack the images there as the README says"
        )
    return root / "train", tests[0]


def _classes(folder: Path) -> tuple[str, ...]:
    with os.scandir(folder) as entries:
        there = sorted((e.name, e.is_dir()) for e in entries)
    visible = [(name, is_folder) for name, is_folder in there if name[0] != "."]
    classes = tuple(name for name, is_folder in visible if is_folder)
    hidden = [name for name, is_folder in there if is_folder and name[0] == "."]
    if hidden:
        _log.warning(
            "%s: folders left out for their leading dot: %s",
            folder,
            shorten(hidden),
        )
    if not classes:
        files = [name for name, _ in visible]
        raise ValueError(
            f"{folder} must have one folder of images for each class, such as "
            f"{folder.name}/n01440764: got {shorten(files) or 'an empty folder'}; "
            "unpack each class into a folder of its own, and move each validation "
            "image into the folder of its class, as the README says"
        )
    return classes


def _compare(train: Sequence[str], test: Sequence[str], folder: Path) -> None:
    missing = sorted(set(train) - set(test))
    extra = sorted(set(test) - set(train))
    if missing or extra:
        raise ValueError(
            f"{folder} must have the class folders of train: it lacks "
            f"{shorten(missing) or 'none'} and has besides {shorten(extra) or 'none'}; "
            "labels are numbers of folders, so that both parts need the same ones"
        )


def _list(folder: Path, class_names: tuple[str, ...], max_bytes: int) -> FolderRecords:
    with ThreadPoolExecutor(_THREADS) as pool:
        listed = list(pool.map(partial(_images, folder), class_names))
    pairs = zip(class_names, listed, strict=True)
    empty = [name for name, found in pairs if not found.images]
    if empty:
        raise ValueError(
            f"{folder}: every class folder must hold images ("
            f"{' '.join(os.fsdecode(suffix) for suffix in SUFFIXES)}): {len(empty)} "
            f"hold none: {shorten(empty)}; fill or remove them"
        )
    others = [path for found in listed for path in found.others]
    if others:
        _log.warning("%s: %d not used: %s", folder, len(others), shorten(others))
    names = [name for found in listed for name in found.images]
    counts = [len(found.images) for found in listed]
    return FolderRecords(
        folder=str(folder),
        class_names=class_names,
        starts=np.cumsum([0, *counts], dtype=np.int64),
        names=b"".join(names),
        ends=np.cumsum([0, *map(len, names)], dtype=np.int64),
        digest=digest([*class_names, *(found.digest for found in listed)]),
        max_bytes=max_bytes,
    )


def _images(folder: Path, class_name: str) -> Listed:
    images: list[tuple[bytes, int]] = []
    others = []
    with os.scandir(os.fsencode(folder / class_name)) as entries:
        for entry in entries:
            if entry.name.startswith(b"."):
                continue
            if entry.name.lower().endswith(SUFFIXES) and entry.is_file():
                images.append((entry.name, entry.stat().st_size))
            else:
                others.append(f"{class_name}/{_text(entry.name)}")
    # Of bytes: the same order on every machine, whatever its language.
    images.sort()
    sizes = np.array([size for _, size in images], np.int64)
    return Listed([name for name, _ in images], sizes, sorted(others))


def _text(path: bytes) -> str:
    # Whatever the bytes are, a message with them can be printed.
    return path.decode("utf-8", "backslashreplace")
