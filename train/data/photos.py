"""Any image file as a network gets it: what `predict` looks at."""

from pathlib import Path

import numpy as np
from PIL import Image

from train.data.examples import Sizes
from train.data.images.decode import BadImage


def cut_photo(path: Path, sizes: Sizes, max_bytes: int) -> np.ndarray:
    """An image file as test images of image files are cut.

    Args:
        path: of the file.
        sizes: how they are cut.
        max_bytes: most bytes that are read.

    Returns:
        uint8 (s, s, 3).

    Raises:
        ValueError: it is no image file, or too large.
    """
    try:
        if path.stat().st_size > max_bytes:
            raise BadImage(f"more than {max_bytes:,} bytes")
        return sizes.cut_test(path.read_bytes())
    except (OSError, BadImage) as error:
        raise ValueError(f"images must be image files: {path}: {error}.") from error


def fit_photo(
    path: Path, image_shape: tuple[int, int, int], max_pixels: int
) -> np.ndarray:
    """An image file in the size and colours of images that are kept as arrays.

    Args:
        path: of the file.
        image_shape: (h, w, c); with c = 1 it becomes grey.
        max_pixels: most that its header may state.

    Returns:
        uint8 (h, w, c).

    Raises:
        ValueError: it is no image file, or too large.
    """
    height, width, channels = image_shape
    try:
        with Image.open(path) as image:
            _check_pixels(path, *image.size, max_pixels)
            plain = image.convert("L" if channels == 1 else "RGB")
    except (OSError, Image.DecompressionBombError) as error:
        raise ValueError(f"images must be image files: {path}: {error}.") from error
    fitted = plain.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(fitted, np.uint8).reshape(image_shape)


def _check_pixels(path: Path, width: int, height: int, most: int) -> None:
    if width * height > most:
        raise ValueError(
            f"images must have at most {most:,} pixels (data.max_image_pixels): {path} "
            f"has {width} × {height}."
        )
