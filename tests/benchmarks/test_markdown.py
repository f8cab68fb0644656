"""Missing rows are said to be missing, never left out."""

from benchmarks.markdown import cell, grid, pair, part

RESULTS = {
    "rows": {
        "a": {"figure": 1, "date": "2026-11-21"},
        "b": {"figure": 2, "date": "2026-11-23"},
        "large": {"fits": False, "date": "2026-11-22"},
    }
}


def show(row):
    return str(row["figure"])


def test_a_cell():
    assert cell(RESULTS, "a", show) == "1"
    assert cell(RESULTS, "missing", show) == "not measured"
    assert cell(RESULTS, "large", show) == "does not fit"


def test_a_pair():
    assert pair(RESULTS, "ab", show) == "1 / 2"
    assert pair(RESULTS, ["a", "missing"], show) == "1 / not measured"
    assert pair(RESULTS, ["missing", "gone"], show) == "not measured"


def test_a_part_has_the_days_of_its_rows():
    lines = part("Words", RESULTS, ["", "x"], [["a", "1"]]).splitlines()
    assert lines == [
        "Words (2026-11-21 to 2026-11-23):",
        "",
        "|  | x |",
        "| --- | --- |",
        "| a | 1 |",
    ]


def test_a_part_without_rows_has_no_day():
    assert part("Words", {"rows": {}}, ["x"], []).startswith("Words:\n")


def test_a_stroke_within_a_cell_does_not_end_it():
    assert grid(["a|b"], [["`c|d`"]]) == "| a\\|b |\n| --- |\n| `c\\|d` |"
