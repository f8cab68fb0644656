"""Draws the project's figures: `python -m prm_flax.figures module docs/prm.png`."""

import argparse
from collections.abc import Sequence

from prm_flax.figures.module import draw_module


def _module(command: argparse.ArgumentParser) -> None:
    command.add_argument("path", help="of the PNG to write")
    command.add_argument("--dark", action="store_true", help="for a dark page")


# A figure's name -> what it shows, its arguments, and what draws it with them.
FIGURES = {"module": ("how a PRM recalibrates its input", _module, draw_module)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Draws the figure that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m prm_flax.figures", description="Draws the project's figures."
    )
    commands = parser.add_subparsers(dest="figure", required=True)
    for name, (shows, declare, _) in FIGURES.items():
        declare(commands.add_parser(name, help=shows, description=f"Draws {shows}."))
    options = vars(parser.parse_args(arguments))
    _, _, draw = FIGURES[options.pop("figure")]
    draw(**options)


if __name__ == "__main__":
    main()
