"""Runs what a study lacks, or prints its table.

python -m studies fit fashion_mnist [--only WORD …] [--seeds 3] [--jobs 1] [--dry]
python -m studies cost fashion_mnist
python -m studies table fashion_mnist
"""

import argparse
import importlib
import signal
import sys
from types import ModuleType

from benchmarks.results import Book
from benchmarks.results import read as read_book
from studies import book, cost
from studies.grid import fill, plan
from studies.run import RunFailed
from studies.table import table

# Name -> what it shows; each module has PLAIN, OURS and `cases()`.
STUDIES = {
    "fashion_mnist": "ResNet-14 with PRM, its variants and its rivals on Fashion-MNIST",
}


def main(words: list[str] | None = None) -> int:
    """The exit code: 0, 1 after a failed training, 2 for wrong input."""
    options = _parser().parse_args(words)
    study = importlib.import_module(f"studies.{options.study}")
    try:
        COMMANDS[options.command](study, options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RunFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _fit(study: ModuleType, options: argparse.Namespace) -> None:
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    known = study.cases()
    chosen = {
        name: case
        for name, case in known.items()
        if not options.only or any(word in (name, case.family) for word in options.only)
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
        fill(options.study, todo.missing, options.jobs)


def _cost(study: ModuleType, options: argparse.Namespace) -> None:
    file = book.FOLDER / f"{options.study}_cost.json"
    Book(file, cost.PACKAGES, cost.TIMED).fill(cost.rows(study.cases(), study.PLAIN))


def _table(study: ModuleType, options: argparse.Namespace) -> None:
    costs = read_book(f"{options.study}_cost", book.FOLDER)["rows"]
    rows = book.read(options.study)
    print(table(study.cases(), rows, (study.PLAIN, study.OURS), costs))


COMMANDS = {"fit": _fit, "cost": _cost, "table": _table}


def _parser() -> argparse.ArgumentParser:
    rows = [f"  {name:14} {what}" for name, what in STUDIES.items()]
    parser = argparse.ArgumentParser(
        prog="python -m studies",
        description="\n".join(["Trains, times and compares.", *rows]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = parser.add_subparsers(dest="command", required=True)
    commands = {
        "fit": "run the trainings that have no result yet",
        "cost": "time the steps that are not timed yet",
        "table": "print the table of the results",
    }
    for name, what in commands.items():
        command = known.add_parser(name, help=what, description=what)
        command.add_argument("study", choices=STUDIES)
        if name == "fit":
            _fit_options(command)
    return parser


def _fit_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--only", nargs="*", default=(), help="cases or families; by default all")
    add("--seeds", type=int, default=3, help="seeds 0 … N − 1 (default %(default)s)")
    add(
        "--jobs",
        type=int,
        default=1,
        help="trainings at a time, which share the cores (default %(default)s)",
    )
    add("--dry", action="store_true", help="only print what there is to do")


if __name__ == "__main__":
    sys.exit(main())
