"""What a table of the paper is: its words as printed, and the network of each row."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

NONE: Mapping[str, Any] = MappingProxyType({})


class Column(NamedTuple):
    """A column of numbers.

    Attributes:
        title: as the paper prints it.
        measure: what this project has to put beside it, of `measure.MEASURES`; ""
            where it has nothing yet.
    """

    title: str
    measure: str = ""


class Row(NamedTuple):
    """A row.

    Attributes:
        labels: its words, as printed.
        printed: its numbers as printed, a string for each column.
        model: this project's network, by the name that its kind knows.
        options: its keywords.
        why: measure -> why the printed number is not this project's.
        kind: of `measure.KINDS`.
    """

    labels: tuple[str, ...]
    printed: tuple[str, ...]
    model: str
    options: Mapping[str, Any] = NONE
    why: Mapping[str, str] = NONE
    kind: str = "classifier"


class Table(NamedTuple):
    """A table of the paper.

    Attributes:
        number: in the paper.
        caption: its first sentence, as printed.
        labels: titles of the columns of words, as printed.
        columns: of numbers.
        rows: all of them.
        notes: what has to be known to compare the two.
    """

    number: int
    caption: str
    labels: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
