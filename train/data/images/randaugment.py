"""RandAugment: a few random operations of one strength.

Cubuk, Zoph, Shlens, Le 2020, arXiv:1909.13719: 14 operations, each step one of them
with equal probability, all at magnitude M. Ranges as in AutoAugment, arXiv:1805.09501,
reached at M = 10, the most that is allowed here. One deviation: at M = 0 every
operation with a range does nothing and grows from there, where the published tables let
Solarize and Posterize weaken with M and the four enhancements do nothing in the middle.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from train.data.rng import below, unit

_MOST = 10
_GREY = (128, 128, 128)
_WORDS_PER_STEP = 2

# (picture, strength from -1 to 1) -> picture. The sign is a coin's.
Operation = Callable[[Image.Image, float], Image.Image]


def words_needed(ops: int) -> int:
    """How many random words `randaugment` takes.

    Args:
        ops: operations applied to a picture.

    Returns:
        Their number.
    """
    return _WORDS_PER_STEP * ops


def randaugment(
    image: np.ndarray, words: np.ndarray, *, ops: int, magnitude: float
) -> np.ndarray:
    """Apply random operations one after the other.

    Args:
        image: uint8 (h, w, 3), RGB.
        words: uint64, at least `words_needed(ops)`: the only source of chance.
        ops: N, how many operations; one may come twice.
        magnitude: M, from 0 to 10.

    Returns:
        uint8 (h, w, 3), a new array.

    Raises:
        ValueError: `ops` or `magnitude` is out of range, or words are missing.
    """
    if ops < 0 or not 0 <= magnitude <= _MOST or len(words) < words_needed(ops):
        raise ValueError(
            f"ops counts from 0 up, magnitude lies in 0..{_MOST}, and there are "
            f"{_WORDS_PER_STEP} words for each operation: got ops {ops}, magnitude "
            f"{magnitude} and {len(words)} words"
        )
    picture = Image.fromarray(image)
    names = tuple(OPERATIONS)
    for choice, coin in words[: words_needed(ops)].reshape(ops, _WORDS_PER_STEP):
        operation = OPERATIONS[names[below(len(names), choice)]]
        sign = 1 if unit(coin) < 0.5 else -1
        picture = operation(picture, sign * magnitude / _MOST)
    return np.array(picture)


def _identity(picture: Image.Image, strength: float) -> Image.Image:
    return picture


def _autocontrast(picture: Image.Image, strength: float) -> Image.Image:
    return ImageOps.autocontrast(picture)


def _equalize(picture: Image.Image, strength: float) -> Image.Image:
    return ImageOps.equalize(picture)


def _posterize(picture: Image.Image, strength: float) -> Image.Image:
    return ImageOps.posterize(picture, 8 - round(4 * abs(strength)))


def _solarize(picture: Image.Image, strength: float) -> Image.Image:
    return ImageOps.solarize(picture, round(256 * (1 - abs(strength))))


def _enhance(
    kind: Callable[[Image.Image], ImageEnhance._Enhance],
    picture: Image.Image,
    strength: float,
) -> Image.Image:
    return kind(picture).enhance(1 + 0.9 * strength)


def _rotate(picture: Image.Image, strength: float) -> Image.Image:
    degrees = 30 * strength
    return picture.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=_GREY)


def _affine(
    matrix: Sequence[float], picture: Image.Image, strength: float
) -> Image.Image:
    """Row (1, x, shift), column (y, 1, shift); shifts are shares of the sides."""
    a, b, c, d = (strength * value for value in matrix)
    data = (1, a, b * picture.width, c, 1, d * picture.height)
    return picture.transform(
        picture.size,
        Image.Transform.AFFINE,
        data,
        Image.Resampling.BILINEAR,
        fillcolor=_GREY,
    )


# AutoAugment moves pictures of 331 pixels by up to 150.
_SHEAR, _MOVE = 0.3, 150 / 331

OPERATIONS: dict[str, Operation] = {
    "identity": _identity,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "rotate": _rotate,
    "solarize": _solarize,
    "color": partial(_enhance, ImageEnhance.Color),
    "posterize": _posterize,
    "contrast": partial(_enhance, ImageEnhance.Contrast),
    "brightness": partial(_enhance, ImageEnhance.Brightness),
    "sharpness": partial(_enhance, ImageEnhance.Sharpness),
    "shear_x": partial(_affine, (_SHEAR, 0, 0, 0)),
    "shear_y": partial(_affine, (0, 0, _SHEAR, 0)),
    "translate_x": partial(_affine, (0, _MOVE, 0, 0)),
    "translate_y": partial(_affine, (0, 0, 0, _MOVE)),
}
