"""Figure 4: accuracy against the number of heads."""

import os

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from prm_flax.figures.canvas import BLUE, LIGHT, blank, save
from prm_flax.figures.heads_runs import HeadsRuns
from prm_flax.figures.lettering import fitted

HEIGHT = 3.7  # inches


def draw_accuracy(path: str | os.PathLike, runs: HeadsRuns) -> None:
    """Draws top-1 accuracy against the number of heads.

    A point is a run, the line goes through the means. The network without PRM is a
    dashed line at its mean, with a band from its lowest to its highest run.

    Args:
        path: of the PNG to write.
        runs: from `heads_runs.by_heads`.

    Raises:
        ValueError: path does not end in .png.
    """
    figure = blank(5.2, HEIGHT)
    axes = figure.subplots()
    means = [float(np.mean(values)) for values in runs.by_heads.values()]
    _heads(axes, runs, means)
    below = bool(runs.plain) and means[-1] < float(np.mean(runs.plain))
    _at_right(axes, means[-1], f"prm_{runs.network}", BLUE, below)
    if runs.plain:
        _plain(axes, runs, not below)
    axes.set_xlabel("heads $g$")
    words = fitted(runs.dataset, HEIGHT - 0.5, 10, form="top-1 accuracy on {}, %")
    axes.set_ylabel(words, size=10, parse_math=False)
    axes.margins(y=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=LIGHT.faint, alpha=0.2, linewidth=0.8)
    save(figure, path)


def _heads(axes: Axes, runs: HeadsRuns, means: list[float]) -> None:
    heads = list(runs.by_heads)
    axes.plot(heads, means, "-", color=BLUE, linewidth=1.6, zorder=3)
    for g, mean, values in zip(heads, means, runs.by_heads.values(), strict=True):
        x = np.full(len(values), g)
        axes.plot(x, values, "o", color=BLUE, ms=5, mew=0, alpha=0.65, zorder=4)
        if len(values) > 1:
            axes.plot(g, mean, "_", color=BLUE, ms=14, mew=1.8, zorder=3)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(heads, [str(g) for g in heads])
    if len(heads) == 1:
        axes.set_xlim(heads[0] / 2, heads[0] * 2)


def _plain(axes: Axes, runs: HeadsRuns, below: bool) -> None:
    mean = float(np.mean(runs.plain))
    axes.axhline(mean, color=LIGHT.faint, linewidth=1.4, linestyle=(0, (5, 3)))
    low, high = min(runs.plain), max(runs.plain)
    axes.axhspan(low, high, color=LIGHT.faint, alpha=0.13, linewidth=0)
    _at_right(axes, mean, f"{runs.network}\nwithout PRM", LIGHT.faint, below)


def _at_right(axes: Axes, y: float, words: str, color: str, below: bool) -> None:
    """Names a line at its end; names of lines that lie close are parted."""
    axes.annotate(
        words,
        (1, y),
        (6, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="top" if below else "bottom",
        color=color,
        fontsize=9,
        parse_math=False,
    )
