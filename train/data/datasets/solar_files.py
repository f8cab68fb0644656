"""The files of the solar cells: where they are, what they must be, how they come.

PyPI's package elpv-dataset holds them; it is downloaded, not installed and not run.
"""

import hashlib
import os
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from train.data.datasets.fashion_mnist import VARIABLE
from train.data.download import (
    Content,
    FetchError,
    check,
    not_here,
    opened_wheel,
    publish,
    read_member,
)
from train.data.records.base import shorten

REQUIREMENT = "elpv-dataset==1.0.0.post1"
FOLDER = "solar-cells"
CACHE = Path(__file__).resolve().parents[3] / "data" / FOLDER
LABELS = "labels.csv"
LICENCE = "LICENSE.md"
IMAGE = re.compile(r"images/[A-Za-z0-9_]+\.png", re.ASCII)
# Of one picture: the largest has 50,229.
MOST_BYTES = 65_536

NOTICE = """\
The photographs of solar cells are licensed under CC BY-NC-SA 4.0: not for commercial
use; LICENSE.md is beside them. Whoever uses them in science cites:
  C. Buerhop-Lutz, S. Deitsch, A. Maier, F. Gallwitz, S. Berger, B. Doll, J. Hauch,
    C. Camus, C. J. Brabec. A Benchmark for Visual Identification of Defective Solar
    Cells in Electroluminescence Imagery. EU PVSEC 2018,
    doi:10.4229/35thEUPVSEC20182018-5CV.3.15
  S. Deitsch, V. Christlein, S. Berger, C. Buerhop-Lutz, A. Maier, F. Gallwitz,
    C. Riess. Automatic classification of defective photovoltaic module cells in
    electroluminescence images. Solar Energy 185, 2019,
    doi:10.1016/j.solener.2019.02.067
  S. Deitsch, C. Buerhop-Lutz, E. Sovetkin, A. Steland, A. Maier, F. Gallwitz,
    C. Riess. Segmentation of photovoltaic module cells in uncalibrated
    electroluminescence images. Machine Vision and Applications 32(4), 2021,
    doi:10.1007/s00138-021-01191-9
"""


class Edition(NamedTuple):
    """What the files must be.

    Attributes:
        labels: the label file.
        licence: the licence's text.
        images: how many pictures.
        sha256: of the bytes of all pictures, one after the other in the label file's
            order.
    """

    labels: Content
    licence: Content
    images: int
    sha256: str


ELPV = Edition(
    Content(120704, "0abe6fe7700aea571717d7d7dfec005a47c6207b4cde26a4556b6807a115483d"),
    Content(19093, "66eea18fe8cb99e0d178d838a4932be0d3af8a6f844e933a8bbb0054e22f2592"),
    2624,
    "23ca267689338c754ae3cc3ef36005bdbbb96f3dbeb401031e3a5e46b0dad8d5",
)


def folder() -> Path:
    """Where the files are, or go.

    Returns:
        solar-cells in PRM_DATA_DIR, if it is there, or in data of the checkout.
    """
    named = Path(os.environ.get(VARIABLE, ""), FOLDER)
    return named if VARIABLE in os.environ and named.is_dir() else CACHE


def locate(edition: Edition = ELPV, fetch: bool = True) -> Path:
    """Find the folder of the files, fetching them as a last resort.

    Args:
        edition: what they must be.
        fetch: whether they may be fetched.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: they are not here and cannot be fetched.
    """
    into = folder()
    # The label file is published last: where it is, the pictures came before it.
    if not (into / LABELS).is_file():
        if not fetch:
            raise not_here("the photographs of solar cells", "make solar")
        _fetch(into, edition)
    return into


def check_files(root: Path, edition: Edition) -> None:
    """Compare the files in a folder with what they must be.

    Raises:
        FileNotFoundError: some are missing.
        ValueError: their content is another.
    """
    labels = root / LABELS
    if not labels.is_file():
        raise FileNotFoundError(
            f"{root} must have {LABELS} and the folder images: {LABELS} is not there. "
            "Correct the folder, or leave data.root out to have them fetched."
        )
    data = _read(labels, edition.labels.size)
    try:
        check(data, edition.labels, str(labels))
    except ValueError as error:
        raise ValueError(f"{error}. {_advice(root)}") from None
    names = image_names(data, edition.images)
    missing = [name for name in names if not (root / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{root} must have {len(names):,} pictures: {len(missing):,} are missing, "
            f"{shorten(missing)}. {_advice(root)}"
        )
    got = digest(_read(root / name, MOST_BYTES) for name in names)
    if got != edition.sha256:
        raise ValueError(
            f"the pictures of {root} must have the SHA-256 {edition.sha256}, one after "
            f"the other: got {got}; one or more are damaged. {_advice(root)}"
        )


def image_names(labels: bytes, count: int) -> list[str]:
    """The pictures that a label file names, in its order.

    Args:
        labels: the file's content.
        count: how many there must be.

    Raises:
        ValueError: there are more or fewer, or one is not images/NAME.png.
    """
    lines = labels.decode("ascii", "backslashreplace").splitlines()
    names = [line.split(maxsplit=1)[0] if line.strip() else "" for line in lines]
    bad = [repr(name) for name in names if not IMAGE.fullmatch(name)]
    if bad or len(names) != count:
        raise ValueError(
            f"{LABELS} must name {count:,} pictures images/NAME.png: got "
            f"{len(names):,}, of other names {shorten(bad) or 'none'}"
        )
    return names


def digest(pictures: Iterable[bytes]) -> str:
    """SHA-256 of files, one after the other."""
    state = hashlib.sha256()
    for data in pictures:
        state.update(data)
    return state.hexdigest()


def _read(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        return file.read(most + 1)


def _advice(root: Path) -> str:
    return f"Remove {root} and fetch it again: make solar."


def _fetch(into: Path, edition: Edition) -> None:
    print(
        f"fetching {edition.images:,} photographs of solar cells (87 MB), of PyPI's "
        f"package {REQUIREMENT}, with pip into {into}\n{NOTICE}",
        file=sys.stderr,
        flush=True,
    )
    try:
        with tempfile.TemporaryDirectory() as scratch:
            with opened_wheel(REQUIREMENT, Path(scratch)) as archive:
                pictures, others = unpack(archive, Path(scratch), edition)
            publish(pictures, into / "images")
            publish(others, into)
    except (FetchError, OSError, ValueError) as error:
        raise FileNotFoundError(
            f"the photographs of solar cells could not be fetched: {error}.\nConnect "
            f"to a network, or put {LABELS} and images of {REQUIREMENT} into {into}."
        ) from error


def unpack(
    archive: zipfile.ZipFile, scratch: Path, edition: Edition
) -> tuple[list[Path], list[Path]]:
    """Take the files out of the wheel, checked before any of them is handed on.

    Returns:
        The pictures; and the notice, the licence and, last, the label file.

    Raises:
        FetchError: a file is missing or does not unpack.
        ValueError: their content is not the edition's.
    """
    info = f"{REQUIREMENT.replace('-', '_').replace('==', '-')}.dist-info"
    members = {
        LICENCE: (f"{info}/licenses/{LICENCE}", edition.licence),
        LABELS: (f"elpv_dataset/data/{LABELS}", edition.labels),
    }
    contents = {"NOTICE.txt": NOTICE.encode()}
    for name, (member, content) in members.items():
        contents[name] = read_member(archive, member, content.size)
        check(contents[name], content, member)
    (scratch / "images").mkdir()
    names = image_names(contents[LABELS], edition.images)
    state = hashlib.sha256()
    for name in names:
        data = read_member(archive, f"elpv_dataset/data/{name}", MOST_BYTES)
        state.update(data)
        (scratch / name).write_bytes(data)
    if state.hexdigest() != edition.sha256:
        raise ValueError(
            f"the pictures must have the SHA-256 {edition.sha256}, one after the "
            f"other: got {state.hexdigest()}"
        )
    for name, data in contents.items():
        (scratch / name).write_bytes(data)
    return [scratch / name for name in names], [scratch / name for name in contents]
