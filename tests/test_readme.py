"""The README says what is: its Python runs, its table is the command's."""

import re
from pathlib import Path

import pytest

from prm_flax.__main__ import table
from prm_flax.paper.__main__ import main as paper
from train.cli import parse

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_its_python_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = python_blocks()
    assert len(blocks) == 9
    names: dict = {"__name__": "readme"}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    for line in re.findall(r"\n# (Complexity\(.*\))\n", README):
        assert line in printed
    assert "(2, 8, 2) (2, 14, 14, 8)" in printed
    assert "('stage4', 2048, 32)" in printed
    assert "(2, 100, 4) ['loss_bbox', 'loss_cls']" in printed


def test_its_table_of_networks_is_the_command_s():
    assert table() in README


def test_its_table_of_the_paper_is_the_command_s(capsys):
    assert paper(["table1", "--format", "markdown"]) == 0
    assert f"\n\n{capsys.readouterr().out}\n" in README


@pytest.mark.parametrize("name", ["README.md", "docs/clusters.md"])
def test_its_links_lead_somewhere(name):
    page = ROOT / name
    targets = re.findall(r"\]\((?!https:)([^)#]+)\)", page.read_text())
    assert targets
    assert [t for t in targets if not (page.parent / t).exists()] == []


def test_the_command_lines_for_clusters_are_right():
    page = (ROOT / "docs/clusters.md").read_text().replace("\\\n", " ")
    lines = re.findall(r"-m train fit +(.*?)[\"\n]", page)
    lines = [line for line in lines if "$i" not in line]  # run in test_distributed.py
    assert len(lines) == 3
    for line in lines:
        config = parse("fit", line.split())
        assert config.distributed and config.workdir == "/shared/runs/prm_resnet50"
