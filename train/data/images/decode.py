"""The bytes of an image file become pixels: the right ones, or a `BadImage`.

What a file is, its bytes say, never its name. JPEG goes through simplejpeg where that
is installed; it alone tells of damage within a scan, where Pillow says nothing and
gives grey. PNG, WEBP and BMP go through Pillow.
"""

from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from train.data.images.containers import check_png_rows, read_header
from train.data.images.header import BadImage, Header, Part
from train.data.images.orientation import upright

try:
    from train.data.images.turbo import turbo
except ImportError:
    turbo = None

__all__ = ["DECODERS", "BadImage", "decode", "pillow", "read_part"]

# Pillow's classes by kind. Not Image.open, which looks at other kinds too, at
# pictures within the picture, and warns of large ones instead of refusing them.
_FILES: dict[str, Callable[[BytesIO], ImageFile.ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "BMP": BmpImageFile,
}


def decode(data: bytes, *, max_pixels: int) -> np.ndarray:
    """Decode an image file.

    Grey becomes three equal colours, 16 bits keep the upper 8, transparency is
    dropped (its colours stay), inks become colours as in Pillow, Exif's orientation
    is applied. Of several pictures in a JPEG the first is taken; an animation is
    refused, as nobody knows which of its pictures the label means.

    Args:
        data: the file's content.
        max_pixels: the most pixels that the header may state.

    Returns:
        uint8 (h, w, 3), RGB, upright.

    Raises:
        BadImage: the bytes are no picture, too large a one, or damaged or cut in a
            way that decoders notice.
    """
    header = read_header(data, max_pixels)
    whole = Part(0, 0, header.height, header.width)
    return np.ascontiguousarray(upright(read_part(data, header, whole), header))


def read_part(data: bytes, header: Header, part: Part) -> np.ndarray:
    """Decode a part of a picture, as it is stored.

    Args:
        data: the file's content.
        header: of it.
        part: what is wanted.

    Returns:
        uint8 (h, w, 3), RGB; possibly divided by the part's factor.

    Raises:
        BadImage: the file is damaged or cut.
    """
    try:
        return DECODERS[header.kind](data, header, part)
    except (BadImage, MemoryError):
        raise
    except Exception as error:
        # Libraries throw their own, and whatever the damage led them into.
        raise BadImage(
            f"{header.kind} of {header.width} x {header.height} that does not decode: "
            f"{error or type(error).__name__}; it is damaged or cut: fetch it again"
        ) from error


def pillow(data: bytes, header: Header, part: Part) -> np.ndarray:
    """Decode with Pillow: all of the picture, then cut the part out.

    Of a JPEG it notices that the end is missing and that tables are damaged, not
    damage within a scan.

    Args:
        data: the file's content.
        header: of it.
        part: what is wanted.

    Returns:
        uint8 (h, w, 3), RGB: the part, not divided by its factor.

    Raises:
        BadImage: the file states two sizes.
    """
    # Somebody's True would turn grey what is missing of a cut file.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    kept = b"".join(data[piece] for piece in header.keep)
    with _FILES[header.kind](BytesIO(kept)) as image:
        if image.size != (header.width, header.height):
            raise BadImage(f"{header.kind} that states two sizes")
        if image.mode.startswith("I;16"):  # convert("RGB") would saturate
            grey = (np.asarray(image) >> 8).astype(np.uint8)
            return part.of(np.repeat(grey[..., None], 3, axis=2))
        return part.of(np.asarray(image.convert("RGB")))


def _png(data: bytes, header: Header, part: Part) -> np.ndarray:
    check_png_rows(data, header)
    return pillow(data, header, part)


# By kind: (data, header, part) -> the part's pixels.
DECODERS: dict[str, Callable[[bytes, Header, Part], np.ndarray]] = {
    "JPEG": turbo or pillow,
    "PNG": _png,
    "WEBP": pillow,
    "BMP": pillow,
}
