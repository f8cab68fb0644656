"""Runs what a study lacks, or prints its table.

python -m studies fit fashion_mnist [--only WORD …] [--seeds 3] [--jobs 1] [--dry]
python -m studies cost fashion_mnist
python -m studies table fashion_mnist
python -m studies score RUN … [--against RUN …]
python -m studies looks|moved RUN …
python -m studies page docs/results.md
"""

import argparse
import importlib
import signal
import sys
from functools import partial
from pathlib import Path

from benchmarks.results import Book
from benchmarks.results import read as read_book
from studies import book, cost, gaze, moved, page
from studies.grid import fill, plan
from studies.judge import judged
from studies.run import RunFailed

# Name -> what it shows. Each module has `cases()`, `compared()`, whose step is timed
# beside whose, `show(rows, costs)`, and LOOKS, what is run on a finished run's folder
# for more results, or None.
STUDIES = {
    "fashion_mnist": "ResNet-14 with PRM, its variants and its rivals on Fashion-MNIST",
    "solar_cells": "two networks with and without PRM on photographs of solar cells",
}


def main(words: list[str] | None = None) -> int:
    """The exit code: 0, 1 after a failed training, 2 for wrong input."""
    options = _parser().parse_args(words)
    try:
        *_, run = COMMANDS[options.command]
        run(options)
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RunFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _study(options: argparse.Namespace):
    return importlib.import_module(f"studies.{options.study}")


def _fit(options: argparse.Namespace) -> None:
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    known = _study(options).cases()
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
    print(todo.words(), flush=True)
    if not options.dry:
        fill(options.study, todo.missing, options.jobs, _study(options).LOOKS)


def _cost(options: argparse.Namespace) -> None:
    study = _study(options)
    rows = cost.rows(study.cases(), study.compared())
    file = book.FOLDER / f"{options.study}_cost.json"
    command = f"python -m studies cost {options.study}"
    Book(file, cost.PACKAGES, cost.TIMED, command).fill(rows)


def _table(options: argparse.Namespace) -> None:
    print(table_of(options.study))


def table_of(name: str) -> str:
    """A study's table, of the results there are."""
    costs = read_book(f"{name}_cost", book.FOLDER)["rows"]
    return importlib.import_module(f"studies.{name}").show(book.read(name), costs)


def _page(options: argparse.Namespace) -> None:
    page.refresh(options.page, {name: partial(table_of, name) for name in STUDIES})


def _score(options: argparse.Namespace) -> None:
    print(judged(options.runs, options.against))


def _looks(options: argparse.Namespace) -> None:
    print(gaze.said(options.runs))


def _moved(options: argparse.Namespace) -> None:
    print(moved.said(options.runs))


def _studied(command: argparse.ArgumentParser) -> None:
    command.add_argument("study", choices=STUDIES)


def _fit_options(command: argparse.ArgumentParser) -> None:
    _studied(command)
    add = command.add_argument
    add("--only", nargs="*", default=(), help="cases or families; by default all")
    add("--seeds", type=int, default=3, help="seeds 0 … N − 1 (default %(default)s)")
    add("--jobs", type=int, default=1, help="trainings at a time, which share the "
        "cores (default %(default)s)")  # fmt: skip
    add("--dry", action="store_true", help="only print what there is to do")


def _score_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="folders of finished runs")
    add("--against", nargs="+", type=Path, default=(), metavar="RUN",
        help="runs of another network on the same images")  # fmt: skip


def _runs(command: argparse.ArgumentParser) -> None:
    what = "folders of finished runs of networks with PRM"
    command.add_argument("runs", nargs="+", type=Path, metavar="RUN", help=what)


def _page_options(command: argparse.ArgumentParser) -> None:
    marks = "<!-- study: NAME --> before a table and <!-- end of study --> after it"
    what = f"a Markdown file with {marks}"
    command.add_argument("page", type=Path, metavar="PAGE", help=what)


# Name -> what it does, its arguments, and what does it.
COMMANDS = {
    "fit": ("run the trainings that have no result yet", _fit_options, _fit),
    "cost": ("time the steps that are not timed yet", _studied, _cost),
    "table": ("print the table of the results", _studied, _table),
    "page": ("renew the tables of a page", _page_options, _page),
    "score": ("score runs of two classes, with intervals", _score_options, _score),
    "looks": ("ask what query points and masks are on", _runs, _looks),
    "moved": ("say how far training moved PRM's parameters", _runs, _moved),
}


def _parser() -> argparse.ArgumentParser:
    rows = [f"  {name:14} {what}" for name, what in STUDIES.items()]
    parser = argparse.ArgumentParser(
        prog="python -m studies",
        description="\n".join(["Trains, times and compares.", *rows]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = parser.add_subparsers(dest="command", required=True)
    for name, (what, declare, _) in COMMANDS.items():
        declare(known.add_parser(name, help=what, description=what))
    return parser


if __name__ == "__main__":
    sys.exit(main())
