"""Runs what a study lacks, or prints its table.

python -m studies fit fashion_mnist [--only WORD …] [--seeds 3] [--jobs 1] [--dry]
python -m studies cost fashion_mnist
python -m studies table fashion_mnist
python -m studies score RUN … [--against RUN …]
python -m studies looks|moved RUN …
python -m studies page docs/results.md
"""

import argparse
import sys
from pathlib import Path

from prm_flax.printable import print_everything
from studies import commands
from studies.run import RunFailed


def main(words: list[str] | None = None) -> int:
    """The exit code: 0, 1 after a failed training, 2 for wrong input."""
    print_everything()
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


def _studied(command: argparse.ArgumentParser) -> None:
    command.add_argument("study", choices=commands.STUDIES)


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
    "fit": (
        "run the trainings that have no result yet, print the table",
        _fit_options,
        commands.run_missing,
    ),
    "cost": ("time the steps that are not timed yet", _studied, commands.time_steps),
    "table": ("print the table of the results", _studied, commands.print_table),
    "page": ("renew the tables of a page", _page_options, commands.renew_page),
    "score": (
        "score runs of two classes, with intervals",
        _score_options,
        commands.print_score,
    ),
    "looks": ("ask what query points and masks are on", _runs, commands.print_looks),
    "moved": (
        "say how far training moved PRM's parameters",
        _runs,
        commands.print_moved,
    ),
}


def _parser() -> argparse.ArgumentParser:
    rows = [f"  {name:14} {what}" for name, what in commands.STUDIES.items()]
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
