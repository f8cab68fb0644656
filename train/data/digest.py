"""A digest of a list of images: two lists with one digest are the same list."""

import hashlib
import os
from collections.abc import Iterable

import numpy as np

Part = bytes | str | int | np.ndarray


def digest(parts: Iterable[Part]) -> str:
    """SHA-256 of some parts in their order.

    Every part goes in behind its length: ("ab", "c") and ("a", "bc") differ.

    Args:
        parts: names, which may hold bytes that are no text, numbers, arrays (of which
            dtype and shape count, too).

    Returns:
        64 hexadecimal digits.

    Example:
        >>> digest(["ab", "c"]) == digest(["a", "bc"])
        False
    """
    summed = hashlib.sha256()
    for part in parts:
        data = _bytes(part)
        summed.update(len(data).to_bytes(8, "little"))
        summed.update(data)
    return summed.hexdigest()


def _bytes(part: Part) -> bytes:
    if isinstance(part, np.ndarray):
        head = f"{part.dtype.str}{part.shape}".encode()
        return head + np.ascontiguousarray(part).tobytes()
    if isinstance(part, bytes):
        return part
    # As the file system has it: a name's bytes need not be text.
    return os.fsencode(str(part))
