"""`python -m prm_flax.paper`: its forms read back, its wrong input is refused."""

import csv
import os

import pytest
from support.paper_runs import finished, imagenet, with_data

from prm_flax.paper.__main__ import TABLES, main


def said(capsys, *arguments):
    assert main(arguments) == 0
    return capsys.readouterr().out


def as_markdown(text):
    """The cells of a Markdown table, and the notes below it."""
    lines = text.splitlines()
    table = [line for line in lines if line.startswith("|")]
    cells = [[cell.strip() for cell in line[1:-1].split("|")] for line in table]
    return [cells[0], *cells[2:]], [line for line in lines if line.startswith("* ")]


def plain(cell):
    """What CSV has in the place of a cell for people."""
    text = cell.split(" (")[0] if cell[:1].isdigit() else cell
    number = text.rstrip("GM").replace(",", "")
    return number if number.replace(".", "").isdigit() else cell


@pytest.mark.parametrize("name", TABLES)
def test_markdown_and_csv_hold_the_same(capsys, name):
    people, notes = as_markdown(said(capsys, name, "--format", "markdown"))
    programs = list(
        csv.reader(said(capsys, name, "--format", "csv").splitlines(), strict=True)
    )
    assert programs[0] == people[0]
    assert programs[1:] == [[plain(cell) for cell in row] for row in people[1:]]
    assert len(programs) == 1 + len(TABLES[name].rows)
    assert len({len(row) for row in programs}) == 1
    assert notes


@pytest.mark.parametrize("name", TABLES)
def test_numbers_of_csv_are_plain(capsys, name):
    read = csv.DictReader(said(capsys, name, "--format", "csv").splitlines())
    numbers = [
        value for row in read for head, value in row.items() if ": " in head and value
    ]
    assert [n for n in numbers if str(float(n))] == numbers


@pytest.mark.parametrize("name", TABLES)
def test_the_terminal_s_columns_are_aligned(capsys, name):
    lines = said(capsys, name).splitlines()
    rule = next(i for i, line in enumerate(lines) if set(line) == {"-"})
    table = TABLES[name]
    rows = lines[rule + 1 : rule + 1 + len(table.rows)]
    for i, row in enumerate(table.rows):
        assert all(printed in rows[i] for printed in row.printed)
    # The paper's column ends under its title in every row.
    ends = {rows[i].index(r.printed[0]) + len(r.printed[0]) for i, r in _rows(table)}
    assert len(ends) == 1
    assert max(map(len, rows)) <= len(lines[rule])
    assert all(len(line) <= 88 for line in lines[rule + 1 + len(rows) :])


def _rows(table):
    return enumerate(table.rows)


def test_a_mark_is_in_the_terminal_and_in_markdown_not_in_csv(capsys):
    for form, there in (("terminal", True), ("markdown", True), ("csv", False)):
        text = said(capsys, "table1", "--format", form)
        assert ("25.561 (a)" in text) == there
        assert ("(a) 25.560 is" in text) == there


def test_a_run_fills_its_row_and_another_is_noted(tmp_path, capsys):
    good = finished(tmp_path / "good", imagenet("prm_resnet50"), top1=77.5)
    config = with_data(imagenet("prm_resnet50"), source="fashion_mnist")
    other = finished(tmp_path / "other", config)
    assert main(["table1", "--format", "csv", "--runs", good, other]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].startswith("PRM-ResNet50 (ours),77.6474,77.5000,")
    assert err == (
        f"note: {other} is not used: it is a run of 'fashion_mnist', not of ImageNet, "
        "the dataset of Table 1.\n"
    )


def test_output_is_what_would_be_printed(tmp_path, capsys):
    path = tmp_path / "table.csv"
    path.write_text("old")
    want = said(capsys, "table2", "--format", "csv")
    assert said(capsys, "table2", "--format", "csv", "--output", str(path)) == ""
    assert path.read_text() == want
    assert os.listdir(tmp_path) == ["table.csv"]


WRONG = {
    "table": (["tabel1"], "Unknown table 'tabel1'. Did you mean 'table1'?"),
    "number": (["6"], "Known: table1, table2, table3, table4, table5."),
    "format": (["table1", "--format", "markdwon"], "Did you mean 'markdown'?"),
    "option": (["table1", "--formt", "csv"], "Did you mean '--format'?"),
    "run": (["table1", "--runs", "nowhere"], "nowhere is no folder"),
    "folder": (["table1", "--output", "nowhere/t.md"], "--output must be a file that"),
    "not a file": (["table1", "--output", "."], "--output must be a file that can be"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_input_ends_with_code_2_and_writes_nothing(
    tmp_path, monkeypatch, capsys, what
):
    monkeypatch.chdir(tmp_path)
    arguments, words = WRONG[what]
    output = [] if "--output" in arguments else ["--output", "out.md"]
    assert main([*arguments, *output]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("error: ") and words in err
    assert not out and not os.listdir(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path, monkeypatch, capsys
):
    path = tmp_path / "t.md"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert main(["table1", "--output", str(path)]) == 2
    assert "No space left" in capsys.readouterr().err
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["t.md"]


def test_a_folder_of_any_name_is_said_as_it_is(capsys, tmp_path):
    folder = finished(tmp_path / "$a_1$ <b> caf\udce9", imagenet("prm_resnet18"))
    shown = f"`{tmp_path}/$a_1$ <b> caf\\xe9`, 100 epochs"
    for form in ("markdown", "terminal"):
        text = said(capsys, "table5", "--format", form, "--runs", folder)
        assert shown in " ".join(text.split())
    file = tmp_path / "table.md"
    options = "--format", "markdown", "--output", str(file)
    assert main(["table5", "--runs", folder, *options]) == 0
    assert shown in file.read_text("utf-8")


def test_a_long_folder_stays_whole_in_the_terminal(capsys, tmp_path):
    folder = finished(tmp_path / ("long" * 40), imagenet("prm_resnet18"))
    assert "long" * 40 in said(capsys, "table5", "--runs", folder)
