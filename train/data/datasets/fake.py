"""Made-up images that a network can learn: for tests and for measuring machines."""

import math

import numpy as np

from train.data.rng import words
from train.data.source import ArraySource, Splits

_CELLS = 8  # a class is a pattern of at most 8 x 8 grey or coloured cells


def fake(
    seed: int, images: int, image_shape: tuple[int, int, int], classes: int
) -> Splits:
    """Make two splits in which every class has a pattern under half as much noise.

    Args:
        seed: decides patterns and noise; the same seed gives the same bytes.
        images: number of training images; there are a quarter as many test images.
        image_shape: (h, w, c).
        classes: number of classes; the labels run through them in turn.

    Returns:
        Train and test, of the same patterns and different noise.

    Raises:
        ValueError: a number is not positive.
    """
    if min(images, classes, *image_shape) < 1:
        raise ValueError(
            f"images, image_shape and classes must be positive: got {images}, "
            f"{image_shape} and {classes}"
        )
    height, width, channels = image_shape
    cells = (classes, min(height, _CELLS), min(width, _CELLS), channels)
    patterns = _noise(seed, "fake_patterns", cells)
    names = tuple(f"class {label}" for label in range(classes))
    return Splits(
        _split(seed, "fake_train", images, image_shape, patterns, names),
        _split(seed, "fake_test", max(1, images // 4), image_shape, patterns, names),
    )


def _split(
    seed: int,
    stream: str,
    images: int,
    image_shape: tuple[int, int, int],
    patterns: np.ndarray,
    names: tuple[str, ...],
) -> ArraySource:
    height, width, _ = image_shape
    labels = np.arange(images, dtype=np.int32) % len(patterns)
    rows = np.arange(height) * patterns.shape[1] // height
    columns = np.arange(width) * patterns.shape[2] // width
    clean = patterns[labels[:, None, None], rows[:, None], columns]
    noise = _noise(seed, stream, (images, *image_shape))
    return ArraySource(clean // 3 * 2 + noise // 3, labels, names)


def _noise(seed: int, stream: str, shape: tuple[int, ...]) -> np.ndarray:
    count = math.prod(shape)
    return words(seed, 0, stream, -(-count // 8)).view(np.uint8)[:count].reshape(shape)
