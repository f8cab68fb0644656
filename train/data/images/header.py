"""What the first bytes of an image file say, before anything is decoded."""

from typing import NamedTuple

import numpy as np


class BadImage(ValueError):
    """The bytes are no picture that can be trusted; the message is the reason.

    The name of the file is not in it: whoever read the file adds that.
    """


class Scan(NamedTuple):
    """How a JPEG stores its picture.

    Attributes:
        height_at: where in the file the frame's two bytes of height are.
        components: 1 grey, 3 colours, 4 inks.
        one_pass: whether the rows follow each other from top to bottom in one scan
            without restart markers, so that decoding may stop at any of them.
    """

    height_at: int
    components: int
    one_pass: bool


class Header(NamedTuple):
    """What a file says of its picture.

    Attributes:
        kind: "JPEG", "PNG", "WEBP" or "BMP".
        height: rows as stored.
        width: columns as stored.
        orientation: Exif's number, 1 to 8, of the turn that puts it upright.
        keep: the parts of the file that make its pixels, in order: without colour
            profiles, texts and thumbnails.
        scan: of a JPEG.
    """

    kind: str
    height: int
    width: int
    orientation: int
    keep: tuple[slice, ...]
    scan: Scan | None = None


class Part(NamedTuple):
    """What is wanted of a picture, in rows and columns as stored.

    Attributes:
        top: its first row.
        left: its first column.
        height: its rows.
        width: its columns.
        factor: 1, 2, 4 or 8, by which a decoder may shrink it where that is cheap;
            divides height and width.
        rough: whether decoding may be as fast as it can, for a picture that is
            shrunk: an integer cosine transform of fewer bits, colours not smoothed.
    """

    top: int
    left: int
    height: int
    width: int
    factor: int = 1
    rough: bool = False

    def of(self, image: np.ndarray) -> np.ndarray:
        """Cut the part out of the whole picture.

        Args:
            image: (h, w, c), not shrunk.

        Returns:
            A view of it.
        """
        rows = slice(self.top, self.top + self.height)
        return image[rows, self.left : self.left + self.width]
