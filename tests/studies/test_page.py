"""The page's tables are the studies'."""

import pytest
from support.run import REPO

from studies.commands import table_of
from studies.page import refresh, refreshed

PAGE = "a\n<!-- study: one -->\n\nold\n\n<!-- end of study -->\nb\n"
TABLES = {"one": lambda: "| 1 |", "two": lambda: "| 2 |"}


def test_what_is_between_the_marks_is_replaced_and_nothing_else():
    new = PAGE.replace("old", "| 1 |")
    assert refreshed(PAGE, TABLES) == new
    assert refreshed(new, TABLES) == new


def test_each_study_has_its_own_marks():
    both = PAGE + PAGE.replace("one", "two")
    assert refreshed(both, TABLES).split("\n\n")[1::2] == ["| 1 |", "| 2 |"]


def test_a_page_without_marks_or_of_an_unknown_study_is_refused():
    with pytest.raises(ValueError, match="got none"):
        refreshed("words", TABLES)
    with pytest.raises(ValueError, match="of one, two, got three"):
        refreshed(PAGE.replace("one", "three"), TABLES)


def test_a_page_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must be a Markdown file"):
        refresh(tmp_path / "none.md", TABLES)


def test_a_page_is_rewritten(tmp_path):
    (tmp_path / "page.md").write_text(PAGE)
    refresh(tmp_path / "page.md", TABLES)
    assert (tmp_path / "page.md").read_text() == PAGE.replace("old", "| 1 |")


def test_the_page_of_results_has_the_table_of_the_results_that_are_there():
    page = (REPO / "docs" / "results.md").read_text()
    # The other table is of 10,000 draws of the bootstrap for each of its cells.
    assert table_of("fashion_mnist") in page
