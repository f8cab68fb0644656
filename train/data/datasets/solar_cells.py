"""Photographs of solar cells that glow under current: which of them are defective?

2,624 grey pictures of 300x300, one cell each, cut out of photographs of 44 modules;
experts gave each the probability of a defect: 0, 1/3, 2/3 or 1. Buerhop-Lutz et al.
2018, Deitsch et al. 2019 and 2021, whose words are in `solar_files.NOTICE`;
CC BY-NC-SA 4.0. `python -m train.data.datasets.solar_cells` fetches them.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from train.data.datasets.solar_files import (
    ELPV,
    IMAGE,
    LABELS,
    Edition,
    check_files,
    locate,
)
from train.data.digest import digest
from train.data.records.base import MAX_BYTES, Record, RecordSplits, read_file

CLASS_NAMES = ("functional", "defective")
TYPES = ("mono", "poly")
# One image in so many of each stratum is a test image.
TEST_SHARE = 4
SPLIT_SEED = 0


class Cell(NamedTuple):
    """What the label file says of one cell.

    Attributes:
        file: the picture's, such as images/cell0001.png.
        probability: of a defect: 0, 1/3, 2/3 or 1.
        type: mono- or polycrystalline: "mono" or "poly".
    """

    file: str
    probability: float
    type: str

    @property
    def label(self) -> int:
        """1, defective, if the probability is above one half; otherwise 0."""
        return int(self.probability > 0.5)


@dataclass(frozen=True)
class SolarCells:
    """Cells in the order of the label file; `Records` for the program.

    Attributes:
        folder: of the label file.
        cells: what it says of each.
        max_bytes: of an image file.
    """

    folder: str
    cells: tuple[Cell, ...]
    max_bytes: int

    @property
    def class_names(self) -> tuple[str, ...]:
        """Functional and defective."""
        return CLASS_NAMES

    @property
    def digest(self) -> str:
        """Of the list; the edition's own digest is of the pictures."""
        return digest(str(part) for cell in self.cells for part in cell)

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.cells)

    def __getitem__(self, index: int) -> Record:
        """Read one picture, as `Records` says."""
        cell = self.cells[index]
        data = read_file(self.name(index), self.max_bytes)
        return Record(data, cell.label, Path(cell.file).name)

    def name(self, index: int) -> str:
        """The picture's path."""
        return str(Path(self.folder, self.cells[index].file))


def load_solar_cells(
    root: str, *, max_bytes: int = MAX_BYTES, edition: Edition = ELPV
) -> RecordSplits:
    """Three quarters of the cells to train on and one to test on, always the same.

    Args:
        root: the folder of labels.csv and images, see `solar_files.locate`.
        max_bytes: of an image file.
        edition: what the files must be.

    Returns:
        Train and test images, each in the order of the label file.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the files are not the edition's.
    """
    check_files(Path(root), edition)
    cells = read_labels(Path(root, LABELS))
    tested = split(cells)
    train, test = (
        tuple(c for c, t in zip(cells, tested, strict=True) if t == part)
        for part in (False, True)
    )
    return RecordSplits(
        SolarCells(root, train, max_bytes), SolarCells(root, test, max_bytes)
    )


def tested_cells(root: str | None = None) -> tuple[Cell, ...]:
    """The type and defect probability of every test image, in order.

    Args:
        root: as for `load_solar_cells`; None looks for it as `solar_files.locate` does.

    Raises:
        FileNotFoundError: the files are not here and cannot be fetched.
        ValueError: they are not what they must be.
    """
    test = load_solar_cells(root or str(locate())).test
    assert isinstance(test, SolarCells)
    return test.cells


def read_labels(path: Path) -> tuple[Cell, ...]:
    """Read the label file: a picture, a probability and a type a line.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: a line is another, or two are of one picture.
    """
    lines = path.read_text("ascii").splitlines()
    cells = tuple(_cell(line, f"{path}, line {n}") for n, line in enumerate(lines, 1))
    if len({cell.file for cell in cells}) != len(cells):
        raise ValueError(f"{path} must name each picture once: some are there twice.")
    return cells


def _cell(line: str, where: str) -> Cell:
    words = line.split()
    try:
        file, number, kind = words
        probability = float(number)
    except ValueError:
        raise _bad(line, where) from None
    if not (IMAGE.fullmatch(file) and 0 <= probability <= 1 and kind in TYPES):
        raise _bad(line, where)
    return Cell(file, probability, kind)


def _bad(line: str, where: str) -> ValueError:
    return ValueError(
        f"{where} must be a picture images/NAME.png, a probability from 0 to 1 and one "
        f"of {', '.join(TYPES)}: got {line[:80]!r}"
    )


def split(cells: Sequence[Cell]) -> np.ndarray:
    """Draw the test images: a quarter, rounded down, of each type and probability.

    Of all 2,624, 654 are for testing and 1,970 for training:

    | probability | mono: train, test | poly: train, test |
    |---|---|---|
    | 0 | 441, 147 | 690, 230 |
    | 1/3 | 88, 29 | 134, 44 |
    | 2/3 | 42, 14 | 38, 12 |
    | 1 | 235, 78 | 302, 100 |

    The published data do not tell which module a cell is of: cells of one module are
    on both sides.

    Args:
        cells: n of them.

    Returns:
        bool (n,), true for a test image. It depends on the order of the cells.
    """
    # Raw words of the generator, which stay the same in every version of NumPy.
    words = np.random.PCG64(SPLIT_SEED).random_raw(len(cells))
    strata: dict[tuple[str, float], list[int]] = {}
    for index, cell in enumerate(cells):
        strata.setdefault((cell.type, cell.probability), []).append(index)
    tested = np.zeros(len(cells), bool)
    for members in strata.values():
        drawn = np.argsort(words[members], kind="stable")[: len(members) // TEST_SHARE]
        tested[np.asarray(members)[drawn]] = True
    return tested


def main() -> None:
    """Print the folder with the checked files, fetching what is missing."""
    try:
        folder = locate()
        load_solar_cells(str(folder))
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(folder)


if __name__ == "__main__":
    main()
