"""Where each record of some files lies: found by one scan, kept for later runs."""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

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
