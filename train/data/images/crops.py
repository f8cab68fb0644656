"""From the bytes of an image file to a square of pixels, for training and testing."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from train.data.images.containers import read_header
from train.data.images.decode import decode, read_part
from train.data.images.header import BadImage, Part
from train.data.images.orientation import as_stored, upright, upright_size
from train.data.rng import unit

try:
    import cv2
except ImportError:
    cv2 = None
else:
    # Batches are decoded side by side: threads within a picture would only get in
    # each other's way.
    cv2.setNumThreads(1)

# Up to this scale three taps can have the triangle's width.
_THREE_TAPS = 5**0.5


def pillow_resize(image: np.ndarray, size: int, mirror: bool) -> np.ndarray:
    """Resize with Pillow's BILINEAR: a triangle, widened by the scale on shrinking.

    Args:
        image: uint8 (h, w, 3).
        size: n.
        mirror: whether to exchange left and right.

    Returns:
        uint8 (n, n, 3).
    """
    whole = Image.fromarray(np.ascontiguousarray(image))
    square = whole.resize((size, size), Image.Resampling.BILINEAR)
    turned = square.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirror else square
    return np.asarray(turned)


def opencv_resize(image: np.ndarray, size: int, mirror: bool) -> np.ndarray:
    r"""Resize with nearly Pillow's BILINEAR filter in a third of the time.

    Shrinking by s takes a triangle of variance s^2 / 6, in pixels of `image`. Linear
    interpolation is one of variance 1/6; the filter (a, 1 - 2a, a) before it adds the
    missing 2a = (s^2 - 1) / 6. For s = 2 the two make that triangle exactly. Along an
    axis that shrinks by more than the square root of 5, where a would pass 1/3, means
    of whole pixels come first.

    Args:
        image: uint8 (h, w, 3), rows of any stride.
        size: n.
        mirror: whether to exchange left and right.

    Returns:
        uint8 (n, n, 3).
    """
    assert cv2 is not None
    height, width = (_fewer(side, size) for side in image.shape[:2])
    if (height, width) != image.shape[:2]:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    across, down = _taps(width / size), _taps(height / size)
    if across[0] or down[0]:
        border = cv2.BORDER_REPLICATE
        image = cv2.sepFilter2D(image, -1, across, down, borderType=border)
    square = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
    return cv2.flip(square, 1) if mirror else square


def _fewer(side: int, size: int) -> int:
    """The side divided by a whole number, so that three taps do for the rest."""
    return round(side / max(1.0, np.ceil(side / (size * _THREE_TAPS))))


def _taps(scale: float) -> np.ndarray:
    # In 256ths, as OpenCV counts them: their sum stays 1, and white stays white.
    outer = round(min(max(scale**2 - 1, 0.0) / 12, 1 / 3) * 256) / 256
    return np.array([outer, 1 - 2 * outer, outer], np.float32)


resize_square = opencv_resize if cv2 else pillow_resize


_TRIES = 10
# An area and an aspect for each try, the place of the crop, the flip.
CROP_WORDS = 2 * _TRIES + 3

Range = tuple[float, float]


def random_resized_crop(
    data: bytes,
    words: np.ndarray,
    *,
    size: int,
    area: Range = (0.1, 1.0),
    aspect: Range = (0.8, 1.25),
    max_pixels: int,
    flip: bool = True,
) -> np.ndarray:
    """Cut a random part out of a picture, resize it to a square, mirror half of them.

    Only the rows down to the crop's last are decoded where the file allows it. A crop
    of at least twice the size is shrunk by 2, 4 or 8 within the decoding of a JPEG;
    its edges are moved to whole multiples of that. What shrinks is filtered as
    `train.data.images.crops.opencv_resize` says, or with Pillow's BILINEAR where
    OpenCV is not installed; what grows is interpolated linearly.

    Args:
        data: the content of an image file.
        words: uint64 (`CROP_WORDS`,), the only source of chance.
        size: n.
        area: smallest and largest share of the picture's area.
        aspect: smallest and largest width / height of the crop.
        max_pixels: the most pixels that the header may state.
        flip: whether to mirror left to right with probability 1/2.

    Returns:
        uint8 (n, n, 3), RGB.

    Raises:
        BadImage: see `train.data.images.decode.decode`.
    """
    header = read_header(data, max_pixels)
    numbers = unit(words).tolist()
    height, width = upright_size(header)
    top, left, rows, columns = crop_box(height, width, numbers, area, aspect)
    shorter = min(rows, columns)
    factor = next((f for f in (8, 4, 2) if shorter >= f * size), 1)
    top, rows = _snap(top, rows, height, factor)
    left, columns = _snap(left, columns, width, factor)
    part = Part(top, left, rows, columns, factor, shorter >= size)
    part = as_stored(part, header)
    crop = upright(read_part(data, header, part), header)
    return resize_square(crop, size, flip and numbers[CROP_WORDS - 1] < 0.5)


def crop_box(
    height: int,
    width: int,
    unit_numbers: Sequence[float],
    area: Range,
    aspect: Range,
) -> tuple[int, int, int, int]:
    """Choose a crop: uniform share of the area, log-uniform aspect, uniform place.

    Ten tries; if none lies within the picture, the largest centred crop of the
    allowed aspect that is nearest to the picture's.

    Args:
        height: of the picture.
        width: of the picture.
        unit_numbers: from 0 to below 1: ten areas, ten aspects, top, left.
        area: smallest and largest share of the picture's area.
        aspect: smallest and largest width / height.

    Returns:
        Top, left, height and width, within the picture.

    Raises:
        ValueError: a range is empty or not positive, or asks for more than there is.
    """
    if not (0 < area[0] <= area[1] <= 1 and 0 < aspect[0] <= aspect[1]):
        raise ValueError(
            "area must be 0 < smallest <= largest <= 1, a share of the picture, and "
            f"aspect 0 < smallest <= largest: got area {area} and aspect {aspect}"
        )
    lowest, highest = math.log(aspect[0]), math.log(aspect[1])
    for i in range(_TRIES):
        share = area[0] + unit_numbers[i] * (area[1] - area[0])
        ratio = math.exp(lowest + unit_numbers[_TRIES + i] * (highest - lowest))
        rows = round(math.sqrt(share * height * width / ratio))
        columns = round(math.sqrt(share * height * width * ratio))
        if 1 <= rows <= height and 1 <= columns <= width:
            top = int(unit_numbers[2 * _TRIES] * (height - rows + 1))
            left = int(unit_numbers[2 * _TRIES + 1] * (width - columns + 1))
            return top, left, rows, columns
    ratio = min(max(width / height, aspect[0]), aspect[1])
    rows = min(height, max(1, round(width / ratio)))
    columns = min(width, max(1, round(height * ratio)))
    return (height - rows) // 2, (width - columns) // 2, rows, columns


def resize_centre_crop(
    data: bytes, *, resize: int = 256, size: int = 224, max_pixels: int
) -> np.ndarray:
    """Resize a picture's shorter side with Pillow's BILINEAR, cut out the centre.

    The longer side becomes int(`resize` * longer / shorter); the crop starts at
    round((side - `size`) / 2), halves going to the even number. All as in the usual
    evaluation with Pillow, bit for bit.

    Args:
        data: the content of an image file.
        resize: the shorter side.
        size: n.
        max_pixels: the most pixels that the header may state, and that the resized
            picture may have.

    Returns:
        uint8 (n, n, 3), RGB.

    Raises:
        BadImage: see `train.data.images.decode.decode`; or the picture is so long that
            resizing it takes more than `max_pixels`.
        ValueError: `size` is not from 1 to `resize`.
    """
    if not 1 <= size <= resize:
        raise ValueError(
            f"the crop is cut out of the resized picture, so 1 <= size <= resize: got "
            f"size {size} and resize {resize}"
        )
    image = decode(data, max_pixels=max_pixels)
    shorter = min(image.shape[:2])
    sides = [int(resize * side / shorter) for side in image.shape[:2]]
    if sides[0] * sides[1] > max_pixels:
        raise BadImage(
            f"a picture of {image.shape[1]} x {image.shape[0]} would become "
            f"{sides[1]} x {sides[0]}, over {max_pixels:,} pixels: it is too long"
        )
    top, left = (round((side - size) / 2) for side in sides)
    resized = Image.fromarray(image).resize(sides[::-1], Image.Resampling.BILINEAR)
    return np.asarray(resized.crop((left, top, left + size, top + size)))


def _snap(start: int, length: int, side: int, factor: int) -> tuple[int, int]:
    """The nearest stretch of whole multiples of the factor within a side."""
    length = min(round(length / factor), side // factor)
    return min(round(start / factor), side // factor - length) * factor, length * factor
