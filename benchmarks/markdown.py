"""Results as Markdown: cells that may be missing, grids under a line of words."""

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.results import Row

NOT_MEASURED = "not measured"

# A file of results, as `results.read` gives it; a row -> its cell.
Results = dict[str, Any]
Show = Callable[[Row], str]


def cell(results: Results, key: str, show: Show) -> str:
    """One row's figures, or that there are none."""
    row = results["rows"].get(key)
    if row is None:
        return NOT_MEASURED
    return show(row) if row.get("fits", True) else "does not fit"


def pair(results: Results, keys: Sequence[Any], show: Show) -> str:
    """Two rows' figures with a stroke between them."""
    cells = [cell(results, str(key), show) for key in keys]
    return " / ".join(cells if any(c != NOT_MEASURED for c in cells) else cells[:1])


def times(row: Row | None) -> list[str]:
    """Two ways in turn: both medians; the ratio, of the least, of processor time."""
    if row is None:
        return [NOT_MEASURED, "", "", "", ""]
    first, other = (way for way in row.values() if isinstance(way, dict))
    return [
        *(f"{1000 * way['median_seconds']:.4g} ms" for way in (first, other)),
        f"**{other['ratio']:.2f}**",
        f"{other['least_seconds'] / first['least_seconds']:.2f}",
        f"{other['user_seconds'] / first['user_seconds']:.2f}",
    ]


def part(
    words: str, results: Results, head: Sequence[str], rows: Sequence[Sequence[str]]
):
    """A grid under words and the days it was measured on."""
    return f"{filled(words + _days(results) + ':')}\n\n{grid(head, rows)}"


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells as a Markdown table; a | within a cell does not end it."""
    lines = [head, ["---"] * len(head), *rows]
    whole = [[text.replace("|", r"\|") for text in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in whole)


def filled(words: str) -> str:
    """Lines of at most 88 characters."""
    return textwrap.fill(words, 88, break_on_hyphens=False)


def _days(results: Results) -> str:
    days = sorted({row["date"] for row in results["rows"].values()})
    return f" ({' to '.join(dict.fromkeys((days[0], days[-1])))})" if days else ""
