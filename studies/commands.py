"""What each command of `python -m studies` does."""

import argparse
import importlib
import signal
import sys
from functools import partial
from types import ModuleType

from benchmarks.results import ResultsFile
from benchmarks.results import read as read_file
from studies import attention_maps, cost, page, parameter_drift, results
from studies.grid import fill, plan
from studies.scoring import score_table

# Name -> what it shows. Each module has `cases()`, `compared()`, whose step is timed
# beside whose, `show(rows, costs)`, and POSTPROCESS, a module that is run on a finished
# run's folder for more results, or None.
STUDIES = {
    "fashion_mnist": "ResNet-14 with PRM, its variants and its rivals on Fashion-MNIST",
    "solar_cells": "two networks with and without PRM on photographs of solar cells",
}


def _study(name: str) -> ModuleType:
    return importlib.import_module(f"studies.{name}")


def run_missing(options: argparse.Namespace) -> None:
    """Runs the trainings that have no result yet; then prints the table."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    known = _study(options.study).cases()
    chosen = {
        name: case
        for name, case in known.items()
        if not options.only or {name, case.family} & set(options.only)
    }
    if not chosen:
        raise ValueError(
            f"--only must name cases or families, got {' '.join(options.only)}. There "
            f"are {', '.join(dict.fromkeys(c.family for c in known.values()))}; and "
            f"{', '.join(known)}."
        )
    todo = plan(options.study, chosen, options.seeds)
    print(todo.summary(), flush=True)
    if not options.dry:
        fill(
            options.study, todo.missing, options.jobs, _study(options.study).POSTPROCESS
        )
        print_table(options)


def time_steps(options: argparse.Namespace) -> None:
    """Times the steps that are not timed yet."""
    study = _study(options.study)
    rows = cost.rows(study.cases(), study.compared())
    file = results.FOLDER / f"{options.study}_cost.json"
    command = f"python -m studies cost {options.study}"
    ResultsFile(file, cost.PACKAGES, cost.TIMED, command).fill(rows)


def print_table(options: argparse.Namespace) -> None:
    """Prints the table of the results there are."""
    print(table_of(options.study))


def table_of(name: str) -> str:
    """A study's table, of the results there are."""
    costs = read_file(f"{name}_cost", results.FOLDER)["rows"]
    return _study(name).show(results.read(name), costs)


def renew_page(options: argparse.Namespace) -> None:
    """Renews the tables of a page."""
    page.refresh(options.page, {name: partial(table_of, name) for name in STUDIES})


def print_score(options: argparse.Namespace) -> None:
    """Prints scores of runs of two classes."""
    print(score_table(options.runs, options.against))


def print_looks(options: argparse.Namespace) -> None:
    """Prints what query points and masks are on."""
    print(attention_maps.markdown_table(options.runs))


def print_moved(options: argparse.Namespace) -> None:
    """Prints how far training moved PRM's parameters."""
    print(parameter_drift.markdown_table(options.runs))
