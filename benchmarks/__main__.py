"""Measures what is not measured yet, or prints the README's table.

python -m benchmarks layer steps growth detection wall peers accelerator
    [--only "WORD …"] [--again]
python -m benchmarks table
"""

import argparse
import importlib
import sys
from pathlib import Path

from benchmarks import results
from benchmarks.table import table

# Name -> what it measures; each module has PACKAGES, TIMED and `cases()`.
BENCHMARKS = {
    "layer": "the PRM layer, compiled for a GPU and a TPU that are not here",
    "steps": "whole training steps, compiled for them",
    "growth": "both with more chips, larger maps and other numbers of groups",
    "detection": "detectors and their parts, compiled for them",
    "wall": "time on this machine, plain and with PRM",
    "accelerator": "time on the GPU or TPU that is here",
    "peers": "time on this machine, against PyTorch and the Flax example",
}


def main(words: list[str] | None = None) -> int:
    """The exit code: 0, or 2 for wrong input."""
    flags = _parser().parse_args(words)
    try:
        for name in flags.names:
            if name == "table":
                print(table())
            else:
                _measure(name, flags)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _measure(name: str, flags: argparse.Namespace) -> None:
    benchmark = importlib.import_module(f"benchmarks.{name}")
    words = flags.only.split()
    cases = {
        key: run
        for key, run in benchmark.cases().items()
        if all(word in key for word in words)
    }
    if not cases:
        known = "\n".join(benchmark.cases())
        raise ValueError(f"{name} has no row with {flags.only!r}. Its rows:\n{known}")
    path = flags.folder / f"{name}.json"
    file = results.ResultsFile(path, benchmark.PACKAGES, benchmark.TIMED)
    file.fill(cases, again=flags.again)


def _parser() -> argparse.ArgumentParser:
    rows = [f"  {name:11} {what}" for name, what in BENCHMARKS.items()]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="\n".join(
            [*rows, "  table       the README's table of the results"]
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="+", choices=[*BENCHMARKS, "table"])
    parser.add_argument(
        "--only", default="", help="rows whose names contain these words"
    )
    parser.add_argument("--again", action="store_true", help="also what is measured")
    parser.add_argument("--folder", type=Path, default=results.FOLDER)
    return parser


if __name__ == "__main__":
    sys.exit(main())
