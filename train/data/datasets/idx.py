"""The idx format of MNIST and of the sets that copy its files, plain or gzipped.

A file is two zero bytes, a type byte (these sets use only 0x08, unsigned byte), the
number of axes, the length of each axis as a big-endian uint32, then the values.
"""

import gzip
import hashlib
import io
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from train.data.records.arrays import ArraySource, Splits

IMAGE_FILES = ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte")
LABEL_FILES = ("train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte")
MAX_BYTES = 1 << 30  # the largest of the family, EMNIST by class, takes 0.55 GB


def read_idx(
    path: str | Path,
    *,
    axes: int | None = None,
    sha256: str | None = None,
    max_bytes: int = MAX_BYTES,
) -> np.ndarray:
    """Read one idx file, gzipped or not.

    Args:
        path: the file; its first bytes tell whether it is gzipped.
        axes: how many axes it must have; None accepts any number.
        sha256: what the uncompressed file must hash to; None accepts anything.
        max_bytes: most values, of one byte each, that are read into memory.

    Returns:
        Read-only uint8 array of the shape that the header states.

    Raises:
        ValueError: the file is not what the format or an argument demands.
    """
    try:
        with _open(Path(path)) as stream:
            header, shape = _read_header(stream, axes)
            values = _read_values(stream, shape, max_bytes)
        _check_sha256(header, values, sha256)
    except (EOFError, gzip.BadGzipFile, zlib.error, ValueError) as error:
        raise ValueError(f"{path}: {error}; fetch it again or remove it") from error
    return np.frombuffer(values, np.uint8).reshape(shape)


def load_idx(
    root: str | Path,
    class_names: tuple[str, ...] | None = None,
    *,
    sha256: Mapping[str, str] | None = None,
) -> Splits:
    """Read the four files of a set in MNIST's format.

    Args:
        root: the folder with the files, each with or without `.gz`.
        class_names: names in the order of the labels; None numbers the labels.
        sha256: file name, without `.gz`, to the hash of its uncompressed content;
            None checks nothing.

    Returns:
        Train and test images (n, h, w, 1) with their labels.

    Raises:
        FileNotFoundError: files are missing; the message lists all of them.
        ValueError: a file is damaged, or images and labels do not fit together.
    """
    files = find_idx_files(root)
    hashes = {name: sha256[name] if sha256 else None for name in files}
    images = [read_idx(files[f], axes=3, sha256=hashes[f]) for f in IMAGE_FILES]
    labels = [read_idx(files[f], axes=1, sha256=hashes[f]) for f in LABEL_FILES]
    if class_names is None:
        highest = max(int(part.max(initial=0)) for part in labels)
        class_names = tuple(str(label) for label in range(highest + 1))
    train, test = (
        ArraySource(image[..., None], label.astype(np.int32), class_names)
        for image, label in zip(images, labels, strict=True)
    )
    return Splits(train, test)


def find_idx_files(root: str | Path) -> dict[str, Path]:
    """Find the four files of a set in MNIST's format, not looking into subfolders.

    Args:
        root: the folder with the files.

    Returns:
        File name, without `.gz`, to the path: the plain file where both are there.

    Raises:
        FileNotFoundError: files are missing; the message lists all of them.
    """
    names = IMAGE_FILES + LABEL_FILES
    found: dict[str, Path] = {}
    for name in names:
        for path in (Path(root, name), Path(root, f"{name}.gz")):
            if path.is_file():
                found.setdefault(name, path)
    missing = [name for name in names if name not in found]
    if missing:
        raise FileNotFoundError(
            f"{root}: four files, each with or without .gz, make a set in MNIST's "
            f"format; missing here: {', '.join(missing)}"
        )
    return found


def _open(path: Path) -> io.BufferedIOBase:
    with path.open("rb") as probe:
        zipped = probe.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else path.open("rb")


def _read_header(
    stream: io.BufferedIOBase, axes: int | None
) -> tuple[bytes, tuple[int, ...]]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:3] != b"\0\0\x08" or magic[3] not in range(1, 9):
        raise ValueError(
            "an idx file of bytes starts with 00 00 08 and 1 to 8 axes, got "
            f"{magic.hex(' ') or 'an empty file'}"
        )
    if axes is not None and magic[3] != axes:
        raise ValueError(
            f"expected {axes} axes (images have 3, labels 1), got {magic[3]}: are "
            "images and labels swapped?"
        )
    lengths = stream.read(4 * magic[3])
    if len(lengths) < 4 * magic[3]:
        raise ValueError(f"truncated within the lengths of its {magic[3]} axes")
    return magic + lengths, struct.unpack(f">{magic[3]}I", lengths)


def _read_values(
    stream: io.BufferedIOBase, shape: tuple[int, ...], max_bytes: int
) -> bytes:
    expected = math.prod(shape)
    if expected > max_bytes:
        raise ValueError(
            f"the header states {expected:,} bytes {shape}, the limit is {max_bytes:,} "
            "(raise max_bytes if the file can be trusted)"
        )
    # One byte more than stated shows trailing data and never unpacks a gzip bomb.
    values = stream.read(expected + 1)
    if len(values) != expected:
        relation = "more" if len(values) > expected else f"only {len(values):,}"
        raise ValueError(
            f"the header states {expected:,} bytes {shape}, the file holds {relation}"
        )
    return values


def _check_sha256(header: bytes, values: bytes, expected: str | None) -> None:
    if expected is None:
        return
    got = hashlib.sha256(header)
    got.update(values)
    if got.hexdigest() != expected:
        raise ValueError(
            f"SHA-256 of the uncompressed content must be {expected}, got "
            f"{got.hexdigest()}"
        )
