"""What a saved step consists of: the size and SHA-256 of every file.

Written once a save is committed, it is what makes a step one that can be used. The
sums are of the files as they are read back then. They find whatever happens to a file
after that: a flipped bit, a cut end, a lost or a foreign file, half a copy. What went
wrong before, in memory or on the way to the file, is summed as it is.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any

from etils import epath

from train.workdir.files import is_local

NAME = "manifest.json"


class DamagedError(RuntimeError):
    """A saved step is not what was saved; the message begins with the file's path."""


def write(folder: epath.Path) -> None:
    """Writes the manifest of a folder, after what it lists has reached the disk."""
    text = _render(_files(folder, sync=True))
    temporary = folder.parent / f"{folder.name}.{NAME}.tmp"
    temporary.write_bytes(text)
    _sync(temporary)
    temporary.replace(folder / NAME)
    for each in (folder, folder.parent):
        _sync(each)


def check(folder: epath.Path) -> None:
    """Compares a folder with its manifest.

    Raises:
        DamagedError: a file is not there, is not the same or is one too many; or the
            manifest itself is not what was written.
    """
    path = folder / NAME
    try:
        written, found = path.read_bytes(), _files(folder)
    except OSError as error:
        name = error.filename or folder
        raise DamagedError(f"{name} cannot be read: {error.strerror}") from error
    # The text, not what it means: then a changed bit in it cannot go unseen either.
    if written != _render(found):
        raise DamagedError(_difference(folder, written, found))


def _files(folder: epath.Path, sync: bool = False) -> dict[str, dict[str, Any]]:
    """Path in the folder -> size and sum, in the order of the paths."""
    found = {}
    for name, path in sorted(_walk(folder, "")):
        if name == NAME:
            continue
        if sync:
            _sync(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")  # pyright: ignore[reportArgumentType]
            found[name] = {"size": file.tell(), "sha256": digest.hexdigest()}
    return found


def _walk(folder: epath.Path, prefix: str) -> Iterator[tuple[str, epath.Path]]:
    """The files below a folder; epath's glob does not go down."""
    for path in folder.iterdir():
        name = prefix + path.name
        if path.is_dir():
            yield from _walk(path, f"{name}/")
        else:
            yield name, path


def _render(files: dict[str, dict[str, Any]]) -> bytes:
    return (json.dumps({"files": files}, indent=1) + "\n").encode()


def _difference(folder: epath.Path, written: bytes, found: dict[str, Any]) -> str:
    """Names the first file that differs."""
    try:
        wanted = json.loads(written)["files"]
        names = sorted(wanted.keys() | found.keys())
    except (ValueError, TypeError, KeyError, AttributeError):
        return f"{folder / NAME} is no manifest"
    for name in names:
        if wanted.get(name) != found.get(name):
            return f"{folder / name} {_change(wanted.get(name), found.get(name))}"
    return f"{folder / NAME} is not as it was written"


def _change(wanted: Any, found: Any) -> str:
    if found is None:
        return "is missing"
    if wanted is None:
        return "was not there when the step was saved"
    if isinstance(wanted, dict) and wanted.get("size") != found["size"]:
        return f"has {found['size']} bytes, {wanted.get('size')} were saved"
    return "does not have the SHA-256 it was saved with"


def _sync(path: epath.Path) -> None:
    """Sees a file or a folder onto the disk: a power cut may come."""
    if not is_local(path):
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
