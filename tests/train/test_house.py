"""The program's house: few files on the top floor, no circle, no task in the loop."""

import ast
import graphlib
import re
from pathlib import Path

import pytest
from support.run import REPO

FILES = sorted((REPO / "train").rglob("*.py"))
PACKAGES = ("prm_flax", "train", "configs", "benchmarks", "studies")
# What is short for a reason of its own: a package's docstring, the program's door, and
# the file that `export` copies beside a program.
SHORT = ("__init__.py", "__main__.py", "load.py")
GENERIC = ("step", "loop", "hooks", "evaluate", "report", "data/workers")
GENERIC += tuple(
    f"checkpoints/{p.stem}" for p in (REPO / "train/checkpoints").glob("*")
)


def module_of(path: Path) -> str:
    name = ".".join(path.relative_to(REPO).with_suffix("").parts)
    return name.removesuffix(".__init__")


MODULES = {
    module_of(path): path
    for package in PACKAGES
    for path in (REPO / package).rglob("*.py")
}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            for name in node.names:
                inside = f"{node.module}.{name.name}"
                found.add(inside if inside in MODULES else node.module)
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return found & set(MODULES)


def test_a_stranger_finds_the_way_on_the_top_floor():
    assert len(list((REPO / "train").glob("*.py"))) <= 22


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_a_file_is_a_topic_that_is_read_in_one_sitting(path):
    lines = len(path.read_text().splitlines())
    assert lines <= 300
    assert lines >= 30 or path.name in SHORT


def test_no_file_needs_itself():
    graph = {name: imports(path) for name, path in MODULES.items()}
    tuple(graphlib.TopologicalSorter(graph).static_order())  # else CycleError


@pytest.mark.parametrize("name", [name for name in GENERIC if "__" not in name])
def test_what_every_task_goes_through_names_none(name):
    path = REPO / f"train/{name}.py"
    assert not re.search(r"\blabels?\b|top_?-?1|classification\.", path.read_text())
    tasks = {module for module in imports(path) if module.startswith("train.tasks.")}
    assert tasks <= {"train.tasks.task", "train.tasks.metrics"}
