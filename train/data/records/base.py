"""Random access to labelled image files, the same for every format they lie in."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from train.data.digest import Part
from train.data.images.decode import BadImage

# In each process and for each format. ImageNet has 1024 files, and 1024 is also a
# usual limit of open files.
OPEN_FILES = 128
_OVERHEAD = 1 << 16  # far above what a record holds beside its image: label and names
_SHOWN = 5


class Shards(Protocol):
    """Records of several files, one after the other; picklable, as `Records` are."""

    def __len__(self) -> int:
        """Number of records in all files."""
        ...

    def place(self, index: int) -> str:
        """Say where a record lies."""
        ...

    def index_parts(self) -> Sequence[Part]:
        """What tells these files from others: names without folders, sizes, places."""
        ...

    def read(self, index: int) -> bytes:
        """Read a record; `BadImage` if it is damaged, unreadable or too large."""
        ...


def check_record(size: int, max_bytes: int) -> None:
    """Refuse a record that can only hold too large an image.

    Args:
        size: its bytes.
        max_bytes: the most of an image file.

    Raises:
        BadImage: it is larger, by more than a record's other features take.
    """
    if size > max_bytes + _OVERHEAD:
        raise BadImage(
            f"an image file may take {max_bytes:,} bytes, got a record of {size:,} "
            "(raise max_bytes if it can be trusted)"
        )


def check_counts(
    paths: Sequence[str], expected: Sequence[int], got: Sequence[int]
) -> None:
    """Compare what files hold with what their description says.

    Args:
        paths: the files.
        expected: the number of records that each should hold.
        got: the number that it holds.

    Raises:
        ValueError: they differ.
    """
    wrong = [
        f"{path}: {count} instead of {wanted}"
        for path, wanted, count in zip(paths, expected, got, strict=True)
        if wanted != count
    ]
    if wrong:
        raise ValueError(
            "a file must hold as many records as dataset_info.json says; "
            + shorten(wrong, "\n  ")
            + "\nCopy what differs again."
        )


def shorten(items: Sequence[str], separator: str = ", ") -> str:
    """List the first few of many things.

    Args:
        items: the things.
        separator: put before each.

    Returns:
        At most five of them and how many more there are.
    """
    more = [f"and {len(items) - _SHOWN:,} more"] if len(items) > _SHOWN else []
    return separator.join([*items[:_SHOWN], *more])


MAX_BYTES = 64 << 20  # of one image file: no photo is near it, a memory bomb is above


class Record(NamedTuple):
    """One image as it is stored, not decoded.

    Attributes:
        data: the bytes of the image file.
        label: the class, from 0.
        name: the image file's own name, the same in every format.
    """

    data: bytes
    label: int
    name: str


class Records(Protocol):
    """Labelled image files in a fixed order.

    They are pickled and sent to worker processes, so that they hold names and places
    and open files where and when they read.
    """

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class, in the order of the labels."""
        ...

    @property
    def digest(self) -> str:
        """Of the list: what the files are called and how large they are."""
        ...

    def __len__(self) -> int:
        """Number of images."""
        ...

    def __getitem__(self, index: int) -> Record:
        """Read one image.

        Args:
            index: from 0 to `len` - 1, in the order of the format.

        Returns:
            The image with its label.

        Raises:
            BadImage: this one image is damaged, unreadable or too large.
            IndexError: there is no such image.
            ValueError: the data set is not what it says: nothing to skip over.
        """
        ...

    def name(self, index: int) -> str:
        """Say where an image lies, for messages, however damaged it is.

        Args:
            index: as in `__getitem__`.

        Returns:
            Its name with its folder or its place in a file of many.
        """
        ...


class RecordSplits(NamedTuple):
    """The two parts of a data set.

    Attributes:
        train: what the weights are fitted to.
        test: what the result is measured on: ImageNet's validation images.
    """

    train: Records
    test: Records


def locate(starts: np.ndarray, index: int) -> tuple[int, int]:
    """Find the group of records that an index falls into.

    Args:
        starts: int64 (groups + 1,), index of each group's first record, then the
            number of all records.
        index: of the record.

    Returns:
        The group and the record's position in it.

    Raises:
        IndexError: the index is not one of these records'.
    """
    if not 0 <= index < starts[-1]:
        raise IndexError(f"records count from 0 to {starts[-1] - 1}: got {index}")
    group = int(np.searchsorted(starts, index, side="right")) - 1
    return group, int(index - starts[group])


def check_size(size: int, max_bytes: int) -> None:
    """Refuse an image file that is too large to be read.

    Args:
        size: its bytes.
        max_bytes: the most that are read.

    Raises:
        BadImage: it is larger.
    """
    if size > max_bytes:
        raise BadImage(
            f"an image file may take {max_bytes:,} bytes, got {size:,} (raise "
            "max_bytes if it can be trusted)"
        )


def read_file(path: str | bytes | Path, max_bytes: int) -> bytes:
    """Read an image file, unless it is too large.

    Args:
        path: of the file.
        max_bytes: the most bytes that are read.

    Returns:
        Its content.

    Raises:
        BadImage: it cannot be read, or is larger.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            check_size(size, max_bytes)
            return file.read(size)
    except OSError as error:
        raise BadImage(f"cannot be read: {error.strerror}") from error
