"""The README says what is: its Python runs, its table is the command's."""

import re
from pathlib import Path

from prm_flax.__main__ import table

README = (Path(__file__).parents[1] / "README.md").read_text()


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_its_python_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = python_blocks()
    assert len(blocks) == 7
    names: dict = {"__name__": "readme"}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    for line in re.findall(r"\n# (Complexity\(.*\))\n", README):
        assert line in printed
    assert "(2, 8, 2) (2, 14, 14, 8)" in printed
    assert "('stage4', 2048, 32)" in printed


def test_its_table_of_networks_is_the_command_s():
    assert table() in README


def test_its_links_lead_somewhere():
    root = Path(__file__).parents[1]
    targets = re.findall(r"\]\((?!https:)([^)#]+)\)", README)
    assert targets
    assert [t for t in targets if not (root / t).exists()] == []
