"""JPEG decoding with libjpeg-turbo, through the package simplejpeg."""

import numpy as np
import simplejpeg
from PIL import Image

from train.data.images.header import Header, Part

# What the decoder says, at the very end, of the rows that it was not asked for. It
# keeps its first complaint alone, so that no damage hides behind this one.
_LEFT_OVER = "extraneous bytes before marker 0xd9"
# Rows below the last one wanted that its smooth colours may depend on.
_MARGIN = 16


def turbo(data: bytes, header: Header, part: Part) -> np.ndarray:
    """Decode a JPEG, or as little of it as gives a part of the picture.

    A row depends on no row below it but its neighbours, so where the rows come in one
    scan the decoder is told a smaller height and stops there: the same pixels in the
    time of the rows down to the part's last one.

    Args:
        data: the file.
        header: of it.
        part: what is wanted.

    Returns:
        uint8 (h, w, 3), RGB: the part, each side divided by the part's factor.

    Raises:
        ValueError: the data down to the part's last row are damaged, or the file is
            cut anywhere.
    """
    assert header.scan is not None  # of a JPEG
    if header.scan.components == 4:
        return part.of(_inks(data))
    image, stop = None, part.top + part.height + (0 if part.rough else _MARGIN)
    if header.scan.one_pass and stop < header.height:
        image = _rows(data, header, stop, part)
    if image is None:
        image = _decode(data, header.height, header.width, part)
    top, left, height, width = (number // part.factor for number in part[:4])
    return image[top : top + height, left : left + width]


def _rows(data: bytes, header: Header, stop: int, part: Part) -> np.ndarray | None:
    """The first rows; None where the decoder has another complaint than too few."""
    assert header.scan is not None
    shorter = bytearray(data)
    place = header.scan.height_at
    shorter[place : place + 2] = stop.to_bytes(2, "big")
    sides = -(-stop // part.factor), -(-header.width // part.factor)
    rows = np.empty((*sides, 3), np.uint8)
    try:
        _decode(shorter, stop, header.width, part, rows)
    except ValueError as error:
        if not str(error).endswith(_LEFT_OVER):
            return None
    return rows


def _decode(
    data: bytes | bytearray,
    height: int,
    width: int,
    part: Part,
    buffer: np.ndarray | None = None,
) -> np.ndarray:
    return simplejpeg.decode_jpeg(
        data,
        "RGB",
        fastdct=part.rough,
        fastupsample=part.rough,
        min_height=-(-height // part.factor),
        min_width=-(-width // part.factor),
        buffer=buffer,
        strict=True,
    )


def _inks(data: bytes) -> np.ndarray:
    # Files of four inks are Adobe's, which stores them inverted. The way to RGB is
    # Pillow's, so that its decoder and this one give the same picture.
    inks = Image.fromarray(255 - simplejpeg.decode_jpeg(data, "CMYK"), "CMYK")
    return np.asarray(inks.convert("RGB"))
