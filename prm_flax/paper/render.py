"""A page as text: for a terminal, as Markdown, as CSV."""

import csv
import io
import textwrap
from collections.abc import Callable, Sequence
from types import MappingProxyType

from prm_flax.paper.page import Cell, Head, Page

WIDTH = 88


def terminal(page: Page) -> str:
    """Columns under each other, a line of titles over one that says whose they are."""
    words = sum(not head.whose for head in page.heads)
    table = [
        [_title(page.heads, i) for i in range(len(page.heads))],
        [head.whose for head in page.heads],
        *([_marked(cell) for cell in row] for row in page.rows),
    ]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [_aligned(row, widths, words) for row in table]
    lines.insert(2, "-" * len(max(lines, key=len)))
    notes = [_wrapped(note) for note in page.notes]
    return "\n".join([page.title, "", *lines, "", *notes]) + "\n"


def _wrapped(note: str) -> str:
    """Lines of at most 88 letters; what is longer, such as a folder, stays whole."""
    lines = textwrap.wrap(note, WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


def _title(heads: Sequence[Head], i: int) -> str:
    """A title stands once over the paper's column and this project's beside it."""
    return "" if i and heads[i - 1].title == heads[i].title else heads[i].title


def _aligned(row: Sequence[str], widths: Sequence[int], words: int) -> str:
    """Words to the left, numbers to the right."""
    cells = [
        text.ljust(width) if i < words else text.rjust(width)
        for i, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def markdown(page: Page) -> str:
    """A table of GitHub's Markdown, its notes below it as a list."""
    rules = ["---:" if head.whose else "---" for head in page.heads]
    rows = [
        map(_one_line, page.heads),
        rules,
        *(map(_marked, row) for row in page.rows),
    ]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    notes = [f"* {note}" for note in page.notes]
    return "\n".join([f"**{page.title}**", "", *lines, "", *notes]) + "\n"


def comma_separated(page: Page) -> str:
    """One row of titles, plain numbers, no notes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_one_line, page.heads))
    writer.writerows([cell.plain for cell in row] for row in page.rows)
    return text.getvalue()


def _one_line(head: Head) -> str:
    return f"{head.whose}: {head.title}" if head.whose else head.title


def _marked(cell: Cell) -> str:
    return f"{cell.text} ({cell.mark})" if cell.mark else cell.text


# Name of a form -> what writes it.
FORMS: MappingProxyType[str, Callable[[Page], str]] = MappingProxyType(
    {"terminal": terminal, "markdown": markdown, "csv": comma_separated}
)
