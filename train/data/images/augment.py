"""Random crops and flips on whole batches of uint8 images."""

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from train.data.rng import below, words


class CropDraws(NamedTuple):
    """What chance decided for each of n images.

    Attributes:
        top: int32 (n,), first row of the crop in the padded image.
        left: int32 (n,), first column.
        flip: bool (n,), whether the crop is mirrored left to right.
    """

    top: np.ndarray
    left: np.ndarray
    flip: np.ndarray

    def take(self, index: np.ndarray) -> "CropDraws":
        """Pick the draws of some images.

        Args:
            index: int (b,), the images.

        Returns:
            Their draws, in that order.
        """
        return CropDraws(self.top[index], self.left[index], self.flip[index])


def draw(seed: int, epoch: int, images: int, *, padding: int, flip: bool) -> CropDraws:
    """Draw crops and flips for a whole epoch.

    Args:
        seed: the run's seed.
        epoch: the pass over the data.
        images: n, the number of images.
        padding: pixels added on each side before cropping; 0 keeps images in place.
        flip: whether half of the images are mirrored.

    Returns:
        CropDraws of n images; those of image i depend on (seed, epoch, i) alone.
    """
    places = 2 * padding + 1
    return CropDraws(
        top=below(places, words(seed, epoch, "crop_top", images)),
        left=below(places, words(seed, epoch, "crop_left", images)),
        flip=below(2, words(seed, epoch, "flip", images)).astype(bool) & flip,
    )


def random_crop_flip(images: np.ndarray, draws: CropDraws, padding: int) -> np.ndarray:
    """Pad with black, cut a window of the old size out of each image, mirror some.

    Args:
        images: uint8 (b, h, w, c).
        draws: of these b images; offsets from 0 to 2 * `padding`.
        padding: pixels added on each side.

    Returns:
        uint8 (b, h, w, c), a new array.
    """
    sides = (padding, padding)
    padded = np.pad(images, ((0, 0), sides, sides, (0, 0)))
    # Views of all windows; the index copies one of them for each image.
    windows = sliding_window_view(padded, images.shape[1:], axis=(1, 2, 3))
    cropped = windows[np.arange(len(images)), draws.top, draws.left, 0]
    cropped[draws.flip] = cropped[draws.flip, :, ::-1]
    return cropped
