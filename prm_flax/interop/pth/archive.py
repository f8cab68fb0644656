"""What both formats of `torch.save` give, and the checks they share."""

from collections.abc import Callable
from typing import Any, NamedTuple

from prm_flax.interop.pth.records import Storage


class Archive(NamedTuple):
    """What was saved, and a function that gives a storage's bytes."""

    value: Any
    read: Callable[[Storage], bytes | memoryview]


def expect_size(storage: Storage, found: int) -> None:
    """Holds a storage's claim against the bytes that are there."""
    expected = storage.size * storage.dtype.itemsize
    if expected != found:
        raise ValueError(
            f"storage {storage.key[:100]!r} should have {storage.size} numbers of "
            f"{storage.dtype} ({expected} bytes), the file has {found} bytes of it."
        )


def require_little_endian(little: bool) -> None:
    """Refuses numbers of the other byte order."""
    if not little:
        raise ValueError("it was written on a big-endian machine; save it on another.")
