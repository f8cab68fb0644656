"""Small sources and small sets in MNIST's format."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from train.data.records.arrays import ArraySource


@pytest.fixture
def source() -> ArraySource:
    """23 images of 5x4x2 random bytes in 3 classes."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (23, 5, 4, 2), dtype=np.uint8)
    return ArraySource(images, np.arange(23, dtype=np.int32) % 3, ("a", "b", "c"))


@pytest.fixture(scope="session")
def idx_bytes() -> Callable[[np.ndarray], bytes]:
    """Writes the idx format, independently of the reader."""

    def encode(array: np.ndarray) -> bytes:
        head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
        return head + array.tobytes()

    return encode


@pytest.fixture
def write_set(idx_bytes) -> Callable[[Path], Path]:
    """Writes a set of 4 train and 2 test images; the image files are gzipped."""

    def write(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for split, images in (("train", 4), ("t10k", 2)):
            pixels = np.arange(images * 6, dtype=np.uint8).reshape(images, 2, 3)
            zipped = gzip.compress(idx_bytes(pixels), mtime=0)
            (folder / f"{split}-images-idx3-ubyte.gz").write_bytes(zipped)
            labels = np.arange(images, dtype=np.uint8)
            (folder / f"{split}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
        return folder

    return write
