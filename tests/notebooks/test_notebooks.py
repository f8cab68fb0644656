"""The notebooks run from top to bottom, and are stored as they ran."""

import json
from pathlib import Path

import pytest
from support.samples import needs_samples

from notebooks.execute import HERE, LEFT_OUT, PHOTO, execute

NOTEBOOKS = sorted(HERE.glob("*.ipynb"))
NAMES = [path.name for path in NOTEBOOKS]


def cells(path: Path, kind: str = "code"):
    found = json.loads(path.read_text())["cells"]
    return [cell for cell in found if cell["cell_type"] == kind]


@pytest.mark.parametrize(
    "name",
    [
        "own_model.ipynb",
        pytest.param("look.ipynb", marks=[needs_samples, pytest.mark.slow]),
        pytest.param("compare.ipynb", marks=pytest.mark.slow),
    ],
)
def test_it_runs_from_top_to_bottom(name):
    stored = cells(HERE / name)
    ran = [c for c in execute(HERE / name).cells if c.cell_type == "code"]
    assert [c.execution_count for c in ran] == list(range(1, len(stored) + 1))
    # Their numbers depend on the machine, and on how long the network was trained.
    assert [kinds(cell) for cell in ran] == [kinds(cell) for cell in stored]


def kinds(cell):
    return {output["output_type"] for output in cell["outputs"]}


def test_each_is_executed_here():
    assert NAMES == ["compare.ipynb", "look.ipynb", "own_model.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_what_is_stored_was_run_in_order_and_is_small(path):
    counts = [cell["execution_count"] for cell in cells(path)]
    assert counts == list(range(1, len(counts) + 1))
    assert any(cell["outputs"] for cell in cells(path))
    assert path.stat().st_size < 300_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_what_is_stored_has_no_errors_warnings_or_folders_of_a_machine(path):
    text = path.read_text()
    for word in ("Traceback", "Warning", "/home/", "/root/", "/tmp/", "/work/"):
        assert word not in text
    assert all("execution" not in cell["metadata"] for cell in cells(path))


def test_pictures_of_photos_are_not_stored():
    every = cells(HERE / "look.ipynb")
    tagged = [cell for cell in every if PHOTO in cell["metadata"].get("tags", ())]
    assert len(tagged) == 2
    for cell in tagged:
        assert [o["data"] for o in cell["outputs"]] == [{"text/plain": [LEFT_OUT]}]
