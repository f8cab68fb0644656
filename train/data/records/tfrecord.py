"""TFRecord files, read at any place without TensorFlow.

A record is the length of its data as uint64, the checksum of those 8 bytes, the data,
the checksum of the data; all little-endian. A checksum is a CRC-32C, rotated and moved
by a constant: https://www.tensorflow.org/tutorials/load_data/tfrecord.
"""

import hashlib
import json
import logging
import os
import struct
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import google_crc32c
import numpy as np

from train.data.digest import Part
from train.data.images.decode import BadImage
from train.data.records.base import OPEN_FILES, check_counts, check_record, locate

# PRM_CACHE_DIR: for a checkout that cannot be written to.
CACHE = Path(
    os.environ.get("PRM_CACHE_DIR") or Path(__file__).resolve().parents[2] / "data",
    "record-index",
)
_READERS = 16  # waiting for a disk or a network, not computing
_log = logging.getLogger(__name__)


class RecordIndex(NamedTuple):
    """Places of n records in several files.

    Attributes:
        starts: int64 (files + 1,), number of the first record of each file, then n.
        offsets: int64 (n,), where a record begins in its file.
        lengths: int64 (n,), bytes of its data.
    """

    starts: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray


def cached_index(
    paths: Sequence[str], scan: Callable[[str], np.ndarray]
) -> RecordIndex:
    """Take the index of unchanged files from `CACHE`, or scan them and keep it there.

    Args:
        paths: the files, in order.
        scan: finds the records of one: int64 (n, 2), offsets and lengths.

    Returns:
        The index of all.

    Raises:
        OSError: a file cannot be read.
        ValueError: `scan` refuses a file.
    """
    stats = [os.stat(path) for path in paths]
    files = [
        [Path(path).name, stat.st_size, stat.st_mtime_ns]
        for path, stat in zip(paths, stats, strict=True)
    ]
    key = hashlib.sha256(json.dumps(files).encode()).hexdigest()
    cache = CACHE / f"{key}.npz"
    # Every record takes 16 bytes in the index and more than 16 in its file.
    limit = sum(stat.st_size for stat in stats) + (1 << 20)
    index = _load(cache, len(paths), limit)
    if index is None:
        index = _scan(paths, scan)
        _save(cache, index)
    return index


def _scan(paths: Sequence[str], scan: Callable[[str], np.ndarray]) -> RecordIndex:
    _log.info("finding the records of %d files, once", len(paths))
    with ThreadPoolExecutor(_READERS) as pool:
        found = list(pool.map(scan, paths))
    starts = np.cumsum([0, *map(len, found)], dtype=np.int64)
    offsets, lengths = np.ascontiguousarray(np.concatenate(found).T)
    return RecordIndex(starts, offsets, lengths)


def _load(cache: Path, files: int, limit: int) -> RecordIndex | None:
    try:
        if cache.stat().st_size > limit:
            raise ValueError("larger than any index of these files")
        with np.load(cache, allow_pickle=False) as arrays:
            index = RecordIndex(*(arrays[name] for name in RecordIndex._fields))
        _check(index, files)
    except FileNotFoundError:
        return None
    # numpy hands on whatever zipfile, zlib and its own parser raise, and no damage
    # to a copy is worth more than making it again.
    except Exception as error:
        _log.warning("%s is damaged and made again: %s", cache, error)
        return None
    return index


def _check(index: RecordIndex, files: int) -> None:
    starts, offsets, lengths = index
    shapes = (starts.shape, offsets.shape, lengths.shape)
    records = int(starts[-1])
    if shapes != ((files + 1,), (records,), (records,)):
        raise ValueError(f"shapes {shapes} for {files} files")
    if {array.dtype for array in index} != {np.dtype(np.int64)}:
        raise ValueError("not int64")
    if starts[0] != 0 or any((array < 0).any() for array in (np.diff(starts), *index)):
        raise ValueError("negative places")


def _save(cache: Path, index: RecordIndex) -> None:
    # Several processes may start at once: each writes its own file, the last one
    # renamed stays, and all have the same content.
    partial = cache.with_suffix(f".{os.getpid()}.npz")
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        try:
            np.savez(partial, **index._asdict())
            partial.replace(cache)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("the index is not kept and the next run scans again: %s", error)


_HEAD = struct.Struct("<QI")
_TAIL = struct.Struct("<I")
_FRAME = _HEAD.size + _TAIL.size


@dataclass(frozen=True, eq=False)
class TFRecordShards:
    """The records of several TFRecord files, one after the other.

    Attributes:
        paths: the files.
        index: where each record lies.
        max_bytes: of the image in a record; a larger record is not read.
    """

    paths: tuple[str, ...]
    index: RecordIndex
    max_bytes: int

    def __len__(self) -> int:
        """Number of records in all files."""
        return len(self.index.offsets)

    def place(self, index: int) -> str:
        """Say where a record lies.

        Args:
            index: of the record.

        Returns:
            Its file and its place there, from 0.
        """
        shard, position = locate(self.index.starts, index)
        return f"record {position} of {self.paths[shard]}"

    def index_parts(self) -> Sequence[Part]:
        """The files' names, and where each record lies."""
        return [*map(os.path.basename, self.paths), *self.index]

    def read(self, index: int) -> bytes:
        """Read a record and check it against its checksums.

        Args:
            index: of the record.

        Returns:
            Its data.

        Raises:
            BadImage: it is damaged, unreadable or too large.
            IndexError: there is no such record.
        """
        shard, _ = locate(self.index.starts, index)
        length, offset = int(self.index.lengths[index]), int(self.index.offsets[index])
        check_record(length, self.max_bytes)
        file = _open(self.paths[shard])
        try:
            frame = os.pread(file.descriptor, length + _FRAME, offset)
        except OSError as error:
            raise BadImage(f"cannot be read at byte {offset:,}: {error}") from error
        data = frame[_HEAD.size : -_TAIL.size]
        # Against the index too: a file can change after it was scanned.
        if len(data) != length or _length(frame) != length:
            raise BadImage(f"no record of {length:,} bytes lies at byte {offset:,}")
        if _TAIL.unpack(frame[-_TAIL.size :])[0] != masked_crc(data):
            raise BadImage(f"the data after byte {offset:,} differ from their checksum")
        return data


def open_tfrecords(
    paths: Sequence[str], counts: Sequence[int], max_bytes: int
) -> TFRecordShards:
    """Find every record of some files, from the index of an earlier run or by a scan.

    Args:
        paths: the files, in order.
        counts: how many records each must hold.
        max_bytes: as in `TFRecordShards`.

    Returns:
        The records.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is cut off, damaged or holds another number of records.
    """
    index = cached_index(paths, scan)
    check_counts(paths, counts, np.diff(index.starts).tolist())
    return TFRecordShards(tuple(paths), index, max_bytes)


def scan(path: str) -> np.ndarray:
    """Walk through a file from head to head, without reading the data.

    Args:
        path: the file.

    Returns:
        int64 (n, 2): the offset of each record's head and the length of its data.

    Raises:
        ValueError: a record is cut off, or its length differs from its checksum.
    """
    found = array("q")
    with open(path, "rb", buffering=0) as file:
        size, offset = os.fstat(file.fileno()).st_size, 0
        while offset < size:
            length = _length(os.pread(file.fileno(), _HEAD.size, offset))
            if length is None or length > size - offset - _FRAME:
                fault = "a damaged length" if length is None else f"{length:,} bytes"
                raise ValueError(
                    f"{path}: the record at byte {offset:,} of {size:,} has {fault}: "
                    "the file is damaged or was not copied to its end; copy it again"
                )
            found.extend((offset, length))
            offset += length + _FRAME
    return np.array(found, np.int64).reshape(-1, 2)


def masked_crc(data: bytes) -> int:
    """Compute the checksum that TFRecord files hold.

    Args:
        data: what is checked.

    Returns:
        The CRC-32C, rotated right by 15 bits, plus a constant, modulo 2**32.
    """
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _length(frame: bytes) -> int | None:
    if len(frame) < _HEAD.size:
        return None
    length, crc = _HEAD.unpack_from(frame)
    return length if crc == masked_crc(frame[:8]) else None


class _File:
    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        os.close(self.descriptor)


# Closed when it falls out of the cache AND no other thread is reading from it.
@lru_cache(maxsize=OPEN_FILES)
def _open(path: str) -> _File:
    return _File(os.open(path, os.O_RDONLY))
