"""ArrayRecord files, read at any place by the format's own reader.

tensorflow-datasets' data source reads them by the same reader but never closes a file:
the 1024 files of ImageNet meet a limit of 1024 open ones in the middle of an epoch. It
also takes tensorflow-datasets into every worker process.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from train.data.digest import Part
from train.data.images.decode import BadImage
from train.data.records.base import OPEN_FILES, check_counts, check_record, locate

# As the reader's documentation has it for random access.
_OPTIONS = "readahead_buffer_size:0,max_parallelism:0"
_BUFFER = 32 << 10
_THREADS = 16


@dataclass(frozen=True, eq=False)
class ArrayRecordShards:
    """The records of several ArrayRecord files, one after the other.

    Attributes:
        paths: the files.
        starts: int64 (files + 1,), number of each file's first record, then of all.
        max_bytes: of the image in a record.
    """

    paths: tuple[str, ...]
    starts: np.ndarray
    max_bytes: int

    def __len__(self) -> int:
        """Number of records in all files."""
        return int(self.starts[-1])

    def place(self, index: int) -> str:
        """Say where a record lies.

        Args:
            index: of the record.

        Returns:
            Its file and its place there, from 0.
        """
        shard, position = locate(self.starts, index)
        return f"record {position} of {self.paths[shard]}"

    def index_parts(self) -> Sequence[Part]:
        """The files' names and sizes, and how many records are in each."""
        sizes = [os.path.getsize(path) for path in self.paths]
        return [*map(os.path.basename, self.paths), *sizes, self.starts]

    def read(self, index: int) -> bytes:
        """Read a record; the reader checks it against its checksums.

        Args:
            index: of the record.

        Returns:
            Its data.

        Raises:
            BadImage: it is damaged, unreadable or too large.
            IndexError: there is no such record.
            ValueError: the file is not, or no longer, an ArrayRecord file.
        """
        shard, position = locate(self.starts, index)
        reader = _open(self.paths[shard])
        try:
            (data,) = reader.read([position])
        except RuntimeError as error:
            raise BadImage(f"cannot be read: {error}") from error
        # The reader does not tell a size before it reads.
        check_record(len(data), self.max_bytes)
        return data


def open_array_records(
    paths: Sequence[str], counts: Sequence[int], max_bytes: int
) -> ArrayRecordShards:
    """Check what some files hold.

    Args:
        paths: the files, in order.
        counts: how many records each must hold.
        max_bytes: as in `ArrayRecordShards`.

    Returns:
        The records.

    Raises:
        ValueError: a file is cut off, damaged or holds another number of records.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        check_counts(paths, counts, list(pool.map(_count, paths)))
    starts = np.cumsum([0, *counts], dtype=np.int64)
    return ArrayRecordShards(tuple(paths), starts, max_bytes)


def _count(path: str) -> int:
    return _reader(path).num_records()


def _reader(path: str) -> ArrayRecordReader:
    try:
        return ArrayRecordReader(path, _OPTIONS, file_reader_buffer_size=_BUFFER)
    except RuntimeError as error:
        raise ValueError(
            f"{path}: no complete ArrayRecord file: {error}; copy it again"
        ) from error


_open = lru_cache(maxsize=OPEN_FILES)(_reader)
