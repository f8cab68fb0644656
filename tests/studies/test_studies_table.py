"""The table of a study, from rows that are made up."""

from studies.case import Case
from studies.table import table

CASES = {
    "plain": Case("plain", "modules", "configs/fake.py"),
    "prm": Case("prm", "modules", "configs/fake.py"),
    "prm 4 heads": Case("prm 4 heads", "heads", "configs/fake.py"),
}


COST = {"ratio": 1.234, "step_megabytes": 79.2}


def row(case: str, seed: int, top1: float) -> dict:
    return {
        "case": case,
        "seed": seed,
        "test_top1": top1,
        "parameters": 175_000,
    }


ROWS = [
    *(row("plain", seed, top1) for seed, top1 in enumerate((90.0, 91.0, 92.0))),
    *(row("prm", seed, top1) for seed, top1 in enumerate((90.4, 91.5, 92.6))),
]


def lines_of(rows: list[dict], costs: dict) -> dict[str, list[str]]:
    text = table(CASES, rows, ("plain", "prm"), costs)
    grid = [line.strip("| ").split(" | ") for line in text.splitlines() if "|" in line]
    return {cells[0]: cells for cells in grid}


def test_a_row_has_mean_deviation_and_the_paired_difference_with_its_interval():
    cells = lines_of(ROWS, {"prm": COST})["prm"]
    assert cells[:4] == ["prm", "175,000", "3", "91.50 ± 1.10"]
    # Differences 0.4, 0.5, 0.6: 0.5 ± 4.303 · 0.1 / √3.
    assert cells[4] == "**+0.50 (+0.25 to +0.75)**"
    assert cells[6:] == ["1.23", "79"]


def test_an_interval_that_holds_0_is_not_bold():
    worse = [row("prm", seed, top1) for seed, top1 in enumerate((90.4, 90.5, 92.6))]
    assert lines_of([*ROWS[:3], *worse], {})["prm"][4] == "+0.17 (−1.29 to +1.62)"


def test_one_seed_has_a_difference_without_interval():
    cells = lines_of([ROWS[0], ROWS[3]], {})["prm"]
    assert cells[2:5] == ["1", "90.40", "+0.40"]


def test_what_has_not_run_is_a_dash():
    assert lines_of(ROWS, {})["prm 4 heads"][1:] == ["–", "0", "–", "–", "–", "–", "–"]


def test_every_family_has_a_grid_of_its_own():
    text = table(CASES, ROWS, ("plain", "prm"), {})
    assert text.index("**Modules**") < text.index("**Heads**")


def test_the_scatter_of_all_runs_gives_one_interval_more():
    text = table(CASES, ROWS, ("plain", "prm"), {}).replace("\n", " ")
    # Of the differences 0.4, 0.5, 0.6: a run's standard deviation is 0.1 / √2.
    assert "(2 cases of 3 seeds, 2 degrees of freedom)" in text
    assert "standard deviation is 0.07 and the interval" in text
    assert "± 0.25. Farther than that from plain: prm +0.50." in text
    assert "Farther than that from prm: plain −0.50." in text
