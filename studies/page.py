"""Puts the studies' tables, as they are now, into a page of Markdown."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

# <!-- study: NAME --> … <!-- end of study -->
_PART = re.compile(
    r"(?P<head><!-- study: (?P<name>\w+) -->\n).*?(?P<foot><!-- end of study -->)",
    re.DOTALL,
)


def refreshed(text: str, tables: Mapping[str, Callable[[], str]]) -> str:
    r"""The page with each study's table between its marks.

    Args:
        text: of the page; what lies between two marks is replaced.
        tables: a study's name -> what makes its table.

    Raises:
        ValueError: the page has no mark, or one of a study that does not exist.

    Example:
        >>> page = "<!-- study: a -->\nold\n<!-- end of study -->"
        >>> refreshed(page, {"a": lambda: "new"}).splitlines()[2]
        'new'
    """
    names = [found["name"] for found in _PART.finditer(text)]
    if not names or set(names) - set(tables):
        raise ValueError(
            "the page must have marks <!-- study: NAME --> and <!-- end of study --> "
            f"of {', '.join(tables)}, got {', '.join(names) or 'none'}."
        )
    return _PART.sub(
        lambda found: f"{found['head']}\n{tables[found['name']]()}\n\n{found['foot']}",
        text,
    )


def refresh(page: Path, tables: Mapping[str, Callable[[], str]]) -> None:
    """Rewrites the file, see `refreshed`.

    Raises:
        ValueError: there is no such file, or as for `refreshed`.
    """
    if not page.is_file():
        raise ValueError(f"PAGE must be a Markdown file, got {page}: no such file.")
    text = refreshed(page.read_text(encoding="utf-8"), tables)
    page.write_text(text, encoding="utf-8")
