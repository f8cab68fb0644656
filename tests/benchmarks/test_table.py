"""The README holds the tables of the results on record."""

from pathlib import Path

import pytest

from benchmarks import results
from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.table import table

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_readme_holds_the_table():
    assert table() in README


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_row_on_record_is_still_a_row(name):
    module = __import__(f"benchmarks.{name}", fromlist=["cases"])
    assert results.read(name)["rows"].keys() <= module.cases().keys()


def test_an_unknown_row(capsys):
    assert main(["layer", "--only", "h200"]) == 2
    assert "layer has no row with 'h200'" in capsys.readouterr().err
