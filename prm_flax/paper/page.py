"""A table of the paper with this project's numbers beside the printed ones."""

from collections.abc import Mapping, Sequence
from string import ascii_lowercase
from types import MappingProxyType
from typing import NamedTuple

from prm_flax.paper.form import Column, Row, Table
from prm_flax.paper.measure import COUNTED, KINDS, MEASURES, counts, parted, written
from prm_flax.printable import markdown
from prm_flax.runs import Run


class Head(NamedTuple):
    """The head of a column: whose numbers, "" for words, and of what."""

    whose: str
    title: str


class Cell(NamedTuple):
    """A cell.

    Attributes:
        text: as people read it.
        plain: as programs read it: no unit, no separators.
        mark: letter of its footnote, or "".
    """

    text: str
    plain: str
    mark: str = ""


class Page(NamedTuple):
    """What there is to print.

    Attributes:
        title: the paper's caption.
        heads: of the columns.
        rows: of as many cells.
        notes: source, remarks, footnotes.
    """

    title: str
    heads: tuple[Head, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...]


SOURCE = (
    "paper: as printed in X. Ma, S. Fu, “Position-Aware Recalibration Module: Learning "
    "From Feature Semantics and Feature Position”, IJCAI 2020, Table {number}."
)
HERE = "here: this project. {what}"
NO_RUN = (
    "Accuracies here are blank: no run on ImageNet was given. Folders of runs go after "
    "--runs."
)
NO_DETECTORS = (
    "Average precisions here are blank: this project has trained no detector on MS "
    "COCO, and no run on it was given. Folders of runs go after --runs."
)
UNEXPLAINED = "It is not known why the printed number is another."


def make_page(table: Table, runs: Mapping[int, Run]) -> Page:
    """Puts a table together.

    Args:
        table: quoted from the paper.
        runs: index of a row -> the run that fills it.
    """
    extra = _unprinted(table)
    marks = _marks(table)
    rows = tuple(
        _words(row)
        + _numbers(table.columns, row, runs.get(i), marks)
        + _own(extra, row)
        for i, row in enumerate(table.rows)
    )
    return Page(
        f"Table {table.number}. {table.caption}",
        _heads(table, extra),
        rows,
        _notes_of(table, runs, marks),
    )


def _unprinted(table: Table) -> tuple[str, ...]:
    """Counted measures that the paper's table does not have."""
    printed = {column.measure for column in table.columns}
    return tuple(name for name in COUNTED if name not in printed)


def _heads(table: Table, extra: Sequence[str]) -> tuple[Head, ...]:
    both = (
        Head(whose, column.title)
        for column in table.columns
        for whose in ("paper", "here")
    )
    own = (Head("here", MEASURES[name].title) for name in extra)
    words = (Head("", title) for title in table.labels)
    return (*words, *both, *own, Head("here", "exact parameters"))


def _words(row: Row) -> tuple[Cell, ...]:
    return tuple(Cell(label, label) for label in row.labels)


def _numbers(
    columns: Sequence[Column], row: Row, run: Run | None, marks: Mapping[str, str]
) -> tuple[Cell, ...]:
    """What is printed and what is here, column after column."""
    cells: list[Cell] = []
    for column, printed in zip(columns, row.printed, strict=True):
        cells.append(_cell(printed))
        text = _beside(column.measure, printed, row, run)
        differs = _why(row, column.measure, printed)
        cells.append(_cell(text, marks[differs] if differs else ""))
    return tuple(cells)


def _own(extra: Sequence[str], row: Row) -> tuple[Cell, ...]:
    """What the paper does not print of a network; last its exact parameters."""
    exact = counts(row).parameters
    own = tuple(_cell(_beside(name, "", row, None)) for name in extra)
    return (*own, Cell(f"{exact:,}", str(exact)))


def _beside(measure: str, printed: str, row: Row, run: Run | None) -> str:
    """This project's number, as the paper prints its own; "" where there is none."""
    if measure in COUNTED:
        return written(measure, getattr(counts(row), measure), printed)
    value = run.scores.get(measure) if run else None
    return "" if value is None else written(measure, value, printed)


def _cell(text: str, mark: str = "") -> Cell:
    return Cell(text, parted(text)[0], mark)


def _why(row: Row, measure: str, printed: str) -> str:
    """Why a counted number is not the printed one; "" where it is."""
    if measure not in COUNTED or _beside(measure, printed, row, None) == printed:
        return ""
    return row.why.get(measure, UNEXPLAINED)


def _marks(table: Table) -> dict[str, str]:
    """Footnote -> its letter, in the order of the table."""
    found = (
        _why(row, column.measure, printed)
        for row in table.rows
        for column, printed in zip(table.columns, row.printed, strict=True)
    )
    return dict(zip(dict.fromkeys(filter(None, found)), ascii_lowercase, strict=False))


def _notes_of(
    table: Table, runs: Mapping[int, Run], marks: Mapping[str, str]
) -> tuple[str, ...]:
    """Source, remarks and footnotes.

    Args:
        table: quoted from the paper.
        runs: index of a row -> the run that fills it.
        marks: footnote -> its letter.
    """
    (kind,) = {row.kind for row in table.rows}
    here = HERE.format(what=KINDS[kind].what), _scores(*SCORES[kind], table, runs)
    feet = (f"({mark}) {why}" for why, mark in marks.items())
    return (SOURCE.format(number=table.number), *here, *table.notes, *feet)


def _scores(what: str, none: str, table: Table, runs: Mapping[int, Run]) -> str:
    """Which runs the scores of a table are of."""
    if not runs:
        return none
    given = (
        f"{' '.join(filter(None, table.rows[i].labels))}: {_described(run)}"
        for i, run in sorted(runs.items())
    )
    blank = "" if len(runs) == len(table.rows) else " Blank: no run was given."
    return f"{what} here are of one run each ({'; '.join(given)}).{blank}"


def _described(run: Run) -> str:
    untold = "top1" in run.scores and "top5" not in run.scores
    missing = ", which wrote no top-5 down" if untold else ""
    return f"{markdown(run.folder)}, {run.epochs} epochs{missing}"


# Kind of a table's networks -> what their scores are, and what is said without runs.
SCORES: MappingProxyType[str, tuple[str, str]] = MappingProxyType(
    {
        "classifier": ("Accuracies", NO_RUN),
        "detector": ("Average precisions", NO_DETECTORS),
    }
)
