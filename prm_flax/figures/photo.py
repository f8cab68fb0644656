"""An image file as a network takes it."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from prm_flax.interop.metadata import UNKNOWN, About

# Looked for in the bytes; the file's name plays no part.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
# As stated in the file's header, before anything is decoded.
MOST_PIXELS = 80_000_000


class Preparation(NamedTuple):
    """How an image becomes a network's input.

    Attributes:
        mean: subtracted from the pixels in [0, 1], one number or one a channel.
        std: what they are divided by after that.
        size: height and width of the input.
        resize: the shorter side, before the centre is cut out; 0 squeezes the whole
            image into the input.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int
    resize: int


IMAGENET = Preparation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 224, 256)
# Of data that is not image files: the size of its images.
SQUEEZED: MappingProxyType[str, int] = MappingProxyType(
    {"fashion_mnist": 28, "idx": 28, "fake": 28}
)


def preparation_of(config: Mapping[str, Any], about: About = UNKNOWN) -> Preparation:
    """What a run does with images when it evaluates; ImageNet's for no run ({}).

    Args:
        config: options by dotted name.
        about: what the file of the weights says; it comes first.

    Raises:
        ValueError: an option that says so is missing.
    """
    if about.preprocessing is not None:
        mean, std, (size, *_), resize = about.preprocessing
        return Preparation(mean, std, size, resize)
    if not config:
        return IMAGENET
    needed = ("source", "mean", "std", "image_size", "eval_resize")
    missing = [f"data.{name}" for name in needed if f"data.{name}" not in config]
    if missing:
        raise ValueError(
            f"A run's config.json must have {', '.join(missing)}. Is it the file that "
            "`python -m train fit` wrote?"
        )
    squeezed = SQUEEZED.get(config["data.source"])
    return Preparation(
        tuple(config["data.mean"]),
        tuple(config["data.std"]),
        squeezed or config["data.image_size"],
        0 if squeezed else config["data.eval_resize"],
    )


def read_photo(path: Path, channels: int, preparation: Preparation) -> np.ndarray:
    """Reads an image as a run's evaluation does, before the normalisation.

    Args:
        path: of a JPEG, PNG, WEBP or BMP file; Exif's orientation is applied.
        channels: 1 or 3.
        preparation: of which size and resize count here.

    Returns:
        uint8 (size, size, channels).

    Raises:
        ValueError: it is no image, damaged, or too large; the message says how.
    """
    _check(preparation)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = _open(path)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _no_image(path, error) from error
    except Image.DecompressionBombWarning as warning:
        raise _no_image(path, warning) from warning
    colours = image.convert("L" if channels == 1 else "RGB")
    fitted = _fitted(colours, preparation.size, preparation.resize)
    shape = preparation.size, preparation.size, channels
    return np.asarray(fitted, np.uint8).reshape(shape)


def _check(preparation: Preparation) -> None:
    size, resize = preparation.size, preparation.resize
    if size < 1 or 0 != resize < size:
        raise ValueError(
            "The input is cut out of the resized image, so 1 <= size <= resize (or "
            f"resize is 0): got size {size} and resize {resize}."
        )


def _open(path: Path) -> Image.Image:
    with Image.open(path, formats=FORMATS) as image:
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise ValueError(
                f"it has {width} × {height} pixels, at most {MOST_PIXELS:,} are read"
            )
        if image.mode.startswith("I;16"):  # convert("RGB") would saturate
            return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        return ImageOps.exif_transpose(image)


def _no_image(path: Path, error: Exception) -> ValueError:
    kinds = ", ".join(FORMATS)
    return ValueError(f"IMAGE must be an image file ({kinds}): {path}: {error}.")


def _fitted(image: Image.Image, size: int, resize: int) -> Image.Image:
    bilinear = Image.Resampling.BILINEAR
    if not resize:
        return image.resize((size, size), bilinear)
    shorter = min(image.size)
    width, height = (int(resize * side / shorter) for side in image.size)
    if width * height > MOST_PIXELS:
        raise ValueError(
            f"IMAGE must not be that long: {image.width} × {image.height} pixels would "
            f"become {width} × {height}. Cut a part out of it."
        )
    left, top = (round((side - size) / 2) for side in (width, height))
    resized = image.resize((width, height), bilinear)
    return resized.crop((left, top, left + size, top + size))


def normalized(image: np.ndarray, preparation: Preparation) -> np.ndarray:
    """The network's input of one image.

    Args:
        image: uint8 (h, w, c).
        preparation: its mean and std count here.

    Returns:
        float32 (1, h, w, c).

    Raises:
        ValueError: mean or std has neither one number nor one a channel, or std is
            not positive.
    """
    mean, std = preparation.mean, preparation.std
    channels = image.shape[-1]
    counts = sorted({1, channels})
    if not {len(mean), len(std)} <= {*counts} or min(std) <= 0:
        allowed = " or ".join(map(str, counts))
        raise ValueError(
            f"mean and std must have {allowed} number(s), those of std positive: got "
            f"mean {mean} and std {std}. The network takes {channels} channel(s)."
        )
    scaled = image[None] / np.float32(255) - np.asarray(mean, np.float32)
    return (scaled / np.asarray(std, np.float32)).astype(np.float32)
