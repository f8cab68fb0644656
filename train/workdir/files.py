"""Files of the folder of a run, on a disk or at gs:// in a bucket."""

import errno
import os
import uuid
from pathlib import Path

from etils import epath

# What a full disk says, or a user's share of it, or a limit of a file's size.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_local(path: epath.PathLike) -> bool:
    """Whether the kernel knows the path; gs:// is a path of a library."""
    return "://" not in os.fspath(path)


def write_whole(path: epath.PathLike, data: bytes) -> None:
    """Writes a file, so that whoever reads it meets the old one or all of the new."""
    path = epath.Path(path)
    if not is_local(path):  # an object appears whole
        path.write_bytes(data)
        return
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def local(folder: epath.PathLike) -> Path:
    """Where libraries write by themselves: the folder, or here if it is remote."""
    return Path(folder) if is_local(folder) else Path.cwd()
