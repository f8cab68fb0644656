"""TFRecord files, read at any place without TensorFlow.

A record is the length of its data as uint64, the checksum of those 8 bytes, the data,
the checksum of the data; all little-endian. A checksum is a CRC-32C, rotated and moved
by a constant: https://www.tensorflow.org/tutorials/load_data/tfrecord.
"""

import os
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import google_crc32c
import numpy as np

from train.data.digest import Part
from train.data.images.decode import BadImage
from train.data.record_index import RecordIndex, cached_index
from train.data.records.base import locate
from train.data.shards import OPEN_FILES, check_counts, check_record

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
