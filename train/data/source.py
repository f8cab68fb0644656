"""A labelled set of images that fits in memory."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from train.data.digest import digest


# eq=False: comparing arrays has no single truth value, and hashing by identity
# is what lets frozen objects that hold a source be dictionary keys.
@dataclass(frozen=True, eq=False)
class ArraySource:
    """Images with their labels, checked once when they are put together.

    Attributes:
        images: uint8 (n, h, w, c).
        labels: int32 (n,), each from 0 to `num_classes` - 1.
        class_names: the name of each class, in the order of the labels.

    Raises:
        ValueError: an array has the wrong type or axes, the lengths differ, or a
            label has no class name.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together."""
        _check_array("images", self.images, np.uint8, ("n", "h", "w", "c"))
        _check_array("labels", self.labels, np.int32, ("n",))
        if len(self.images) != len(self.labels):
            raise ValueError(
                f"every image needs one label: got {len(self.images)} images and "
                f"{len(self.labels)} labels; are both of the same split?"
            )
        wrong = np.flatnonzero((self.labels < 0) | (self.labels >= self.num_classes))
        if wrong.size:
            raise ValueError(
                f"labels must lie in 0..{self.num_classes - 1}, one for each of the "
                f"{self.num_classes} class names: labels[{wrong[0]}] is "
                f"{self.labels[wrong[0]]} ({wrong.size} such labels); do they count "
                "from 1, or is a class name missing?"
            )

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    @property
    def num_classes(self) -> int:
        """Number of classes, those without an image among them."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape (h, w, c) of one image."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    @cached_property
    def digest(self) -> str:
        """Of the images and their labels."""
        return digest([self.images, self.labels])


class Splits(NamedTuple):
    """The two parts of a data set.

    Attributes:
        train: what the weights are fitted to.
        test: what the result is measured on.
    """

    train: ArraySource
    test: ArraySource


def _check_array(
    name: str, array: np.ndarray, dtype: type[np.generic], axes: tuple[str, ...]
) -> None:
    if array.dtype != dtype or array.ndim != len(axes):
        raise ValueError(
            f"{name} must be {np.dtype(dtype)} ({', '.join(axes)}): got {array.dtype} "
            f"{array.shape}; convert with .astype or add the missing axis"
        )
