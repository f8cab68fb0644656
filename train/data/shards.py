"""Files that hold many records each: what all formats of them share."""

from collections.abc import Sequence
from typing import Protocol

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
