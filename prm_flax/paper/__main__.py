"""`python -m prm_flax.paper table1`: a table of the paper beside this project's."""

import argparse
import contextlib
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

from prm_flax.errors import unknown
from prm_flax.paper.classification import TABLE1, TABLE2, TABLE3, TABLE5
from prm_flax.paper.detection import TABLE4
from prm_flax.paper.form import Table
from prm_flax.paper.match import placed
from prm_flax.paper.page import make_page
from prm_flax.paper.render import FORMS
from prm_flax.printable import print_everything
from prm_flax.runs import read_run

TABLES: MappingProxyType[str, Table] = MappingProxyType(
    {f"table{t.number}": t for t in (TABLE1, TABLE2, TABLE3, TABLE4, TABLE5)}
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a table, or writes it into a file.

    Returns:
        The exit code: 0, or 2 for wrong input, of which the message says what is right;
        then nothing was written.
    """
    print_everything()
    try:
        options = _options(arguments)
        text, unused = _text(options.table, options.format, options.runs)
        for line in unused:
            print(f"note: {line}", file=sys.stderr)
        if options.output is None:
            sys.stdout.write(text)
        else:
            _write(Path(options.output), text)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m prm_flax.paper",
        description="Prints a table of the PRM paper with this project's numbers.",
        allow_abbrev=False,
    )
    parser.add_argument("table", help=", ".join(TABLES))
    add = parser.add_argument
    runs = "folders of finished runs on ImageNet, or on COCO, for the scores"
    add("--runs", nargs="+", default=[], metavar="FOLDER", help=runs)
    add("--format", default="terminal", help=", ".join(FORMS))
    add("--output", metavar="FILE", help="write there instead of here")
    options, rest = parser.parse_known_args(arguments)
    if rest:
        raise unknown("argument", rest[0], ["--runs", "--format", "--output"])
    return options


def _text(name: str, form: str, folders: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The table as text, and why runs are not used."""
    if name not in TABLES:
        raise unknown("table", name, TABLES)
    if form not in FORMS:
        raise unknown("format", form, FORMS)
    table = TABLES[name]
    runs, unused = placed(table, [read_run(folder) for folder in folders])
    return FORMS[form](make_page(table, runs)), unused


def _write(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}.tmp"
    try:
        temporary.write_text(text, encoding="utf-8", newline="")
        os.replace(temporary, path)
    except OSError as error:
        raise ValueError(
            f"--output must be a file that can be written: {path}: {error.strerror}."
        ) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


if __name__ == "__main__":
    sys.exit(main())
