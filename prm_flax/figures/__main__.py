"""Draws the figures, and looks inside networks: `python -m prm_flax.figures --help`."""

import argparse
import sys
from collections.abc import Sequence

from prm_flax.figures import commands
from prm_flax.figures.heads import draw_heads
from prm_flax.figures.module import draw_module
from prm_flax.printable import print_everything

Parser = argparse.ArgumentParser


def _page(command: Parser) -> None:
    command.add_argument("path", metavar="OUT.png", help="the picture to write")
    command.add_argument("--dark", action="store_true", help="for a dark page")


def _weights(command: Parser) -> None:
    command.add_argument(
        "weights",
        metavar="WEIGHTS",
        help="a run's folder, or a file: .safetensors, .pth or .pt",
    )
    command.add_argument(
        "--model",
        dest="name",
        metavar="NAME",
        help="of the network, where the file does not say it",
    )
    command.add_argument(
        "--ddof", type=int, choices=(0, 1), help="1 for the authors' files"
    )
    command.add_argument(
        "--fresh-prm",
        dest="fresh",
        action="store_true",
        help="put untrained PRMs into the plain network of such a file",
    )


def _rates(command: Parser) -> None:
    _weights(command)
    command.add_argument("path", metavar="OUT.png", help="the picture to write")


def _accuracy(command: Parser) -> None:
    command.add_argument("path", metavar="OUT.png", help="the picture to write")
    command.add_argument(
        "runs",
        metavar="RUN",
        nargs="+",
        help="folders of finished runs that differ in heads and seed",
    )


def _looks(command: Parser) -> None:
    _weights(command)
    command.add_argument("image", metavar="IMAGE", help="JPEG, PNG, WEBP or BMP")
    command.add_argument("path", metavar="OUT.png", help="the picture to write")
    add = command.add_argument
    add("--class-names", metavar="FILE", help="a line a class, or JSON")
    add("--class-index", type=int, metavar="K", help="Grad-CAM's, else the likeliest")
    add("--mean", type=float, nargs="+", help="of the run, else ImageNet's")
    add("--std", type=float, nargs="+", help="of the run, else ImageNet's")
    add("--size", type=int, help="of the input: the run's, else 224")
    add("--resize", type=int, help="the shorter side before the centre is cut: the "
        "run's, else 256; 0 squeezes the image into the input")  # fmt: skip


# A figure's name -> what it shows, its arguments, and what draws it with them.
FIGURES = {
    "module": ("how a PRM recalibrates its input", _page, draw_module),
    "heads": ("multi-head PRM beside multi-head attention", _page, draw_heads),
    "rates": ("how much each PRM's query counts", _rates, commands.rates),
    "accuracy": ("accuracy against heads", _accuracy, commands.accuracy),
    "looks": ("what a network looks at in an image", _looks, commands.looks),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Draws the figure that the command line names; returns the exit code."""
    print_everything()
    parser = Parser(prog="python -m prm_flax.figures", description="Draws figures.")
    known = parser.add_subparsers(dest="figure", required=True)
    for name, (shows, declare, _) in FIGURES.items():
        declare(known.add_parser(name, help=shows, description=f"Draws {shows}."))
    options = vars(parser.parse_args(arguments))
    _, _, draw = FIGURES[options.pop("figure")]
    try:
        draw(**options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
