"""Figure 3: the contribution rate of every PRM of a network."""

import os
from collections.abc import Mapping
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from prm_flax.figures.canvas import BLUE, LIGHT, VERMILION, blank, save
from prm_flax.figures.lettering import fitted

# Inches of a PRM's name, of the picture's height.
LONGEST = 1.4


def draw_rates(
    path: str | os.PathLike,
    rates: Mapping[str, float],
    stages: Mapping[str, str],
    title: str,
) -> None:
    """Draws the contribution rate of every PRM, in the order of the network.

    Args:
        path: of the PNG to write.
        rates: PRM's path -> rate, see `maps.contribution_rates`; at least one.
        stages: PRM's path -> name of its stage; neighbours of one stage share a band.
        title: above the picture.

    Raises:
        ValueError: path does not end in .png.
    """
    width = max(4.6, 1.6 + 0.34 * len(rates))
    figure = blank(width, 3.4)
    axes = figure.subplots()
    _bands(axes, [stages[name] for name in rates])
    heights = list(rates.values())
    axes.vlines(range(len(rates)), 0, heights, color=BLUE, linewidth=2.2, alpha=0.45)
    axes.plot(heights, "o-", color=BLUE, markersize=5.5, linewidth=1.2, clip_on=False)
    names = [fitted(name, LONGEST, 8) for name in _short(list(rates))]
    look = {"rotation": 60, "ha": "right", "parse_math": False}
    axes.set_xticks(range(len(rates)), names, **look)
    axes.tick_params(axis="x", labelsize=8, length=0, pad=1)
    axes.set(ylim=(0, 1), xlim=(-0.6, len(rates) - 0.4))
    axes.set_ylabel(
        "share of the query,\n" + r"mean of $|\alpha| / (|\alpha|+|\beta|)$"
    )
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=LIGHT.faint, alpha=0.2, linewidth=0.8)
    # Above the axes, beside which is room for the numbers and their name.
    words = fitted(title, width - 1.2, 10)
    axes.set_title(words, size=10, color=LIGHT.ink, pad=18, parse_math=False)
    save(figure, path)


def _bands(axes: Axes, stages: list[str]) -> None:
    start = 0
    for k, (stage, members) in enumerate(groupby(stages)):
        stop = start + len(list(members))
        if k % 2 == 0:
            axes.axvspan(start - 0.5, stop - 0.5, color=LIGHT.faint, alpha=0.09, lw=0)
        place = (start + stop - 1) / 2, 1.02
        axes.text(
            *place,
            stage,
            transform=axes.get_xaxis_transform(),
            ha="center",
            fontsize=9,
            color=VERMILION,
            parse_math=False,
        )
        start = stop


def _short(names: list[str]) -> list[str]:
    """Paths without the part that all end in."""
    ends = {name.rpartition("/")[2] for name in names}
    cut = len(ends) == 1 and all("/" in name for name in names)
    return [name.rpartition("/")[0] if cut else name for name in names]
