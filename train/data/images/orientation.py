"""Exif's orientation: how a stored picture is turned to stand upright."""

import struct

import numpy as np

from train.data.images.header import Header, Part

# Exif's orientation: whether rows are reversed, columns are reversed, and then the
# two are exchanged.
_TURNS = (
    *((False, False, False), (False, True, False), (True, True, False)),
    *((True, False, False), (False, False, True), (True, False, True)),
    *((True, True, True), (False, True, True)),
)


def orientation_of(exif: bytes) -> int:
    """Find the orientation in a block of Exif data.

    Args:
        exif: the block, a TIFF file without pixels.

    Returns:
        1 to 8; 1, upright as stored, where the block says nothing or is damaged: the
        pixels are no worse for it.
    """
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (entries,) = struct.unpack_from(order + "H", exif, start)
        for place in range(start + 2, start + 2 + 12 * entries, 12):
            tag, form, count, value = struct.unpack_from(order + "HHIH", exif, place)
            if (tag, form, count) == (0x0112, 3, 1):
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def upright_size(header: Header) -> tuple[int, int]:
    """Height and width of the picture when it stands upright.

    Args:
        header: of the file.

    Returns:
        Height and width.
    """
    exchange = _TURNS[header.orientation - 1][2]
    height, width = header.height, header.width
    return (width, height) if exchange else (height, width)


def upright(stored: np.ndarray, header: Header) -> np.ndarray:
    """Turn a picture, or a part of it, as its orientation says.

    Args:
        stored: (h, w, c).
        header: of the file.

    Returns:
        (h, w, c) or (w, h, c); the array itself where there is nothing to turn.
    """
    if header.orientation == 1:
        return stored
    rows, columns, exchange = _TURNS[header.orientation - 1]
    turned = stored[:: -1 if rows else 1, :: -1 if columns else 1]
    return np.ascontiguousarray(turned.swapaxes(0, 1) if exchange else turned)


def as_stored(part: Part, header: Header) -> Part:
    """Find the part of the stored picture that `upright` turns into a part.

    Args:
        part: in rows and columns of the upright picture.
        header: of the file.

    Returns:
        In rows and columns as stored.
    """
    rows, columns, exchange = _TURNS[header.orientation - 1]
    top, left, height, width = part[:4]
    if exchange:
        top, left, height, width = left, top, width, height
    if rows:
        top = header.height - top - height
    if columns:
        left = header.width - left - width
    return Part(top, left, height, width, *part[4:])
