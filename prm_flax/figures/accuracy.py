"""Figure 4: accuracy against the number of heads, of finished runs."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from prm_flax.backbones.networks import NETWORKS
from prm_flax.figures.canvas import BLUE, LIGHT, blank, save
from prm_flax.figures.lettering import fitted
from prm_flax.runs import FREE, Run, is_free

HEIGHT = 3.7  # inches

# Sources of data that are one data set each; of the others, data.root is the set.
NAMED: MappingProxyType[str, str] = MappingProxyType(
    {"fashion_mnist": "Fashion-MNIST", "imagenet2012": "ImageNet"}
)
# What the figure compares, and what saves memory alone.
COMPARED = ("model.groups", "model.name", "seed")
FREE_HERE = (*FREE, *COMPARED, "name", "model.remat")


class HeadsRuns(NamedTuple):
    """Accuracies by the number of heads.

    Attributes:
        network: the plain network's name.
        dataset: what the accuracy is of.
        by_heads: g -> top-1 in percent of its runs; sorted by g.
        plain: the same of the runs without PRM; may be empty.
    """

    network: str
    dataset: str
    by_heads: dict[int, list[float]]
    plain: list[float]


def by_heads(runs: Sequence[Run]) -> HeadsRuns:
    """Sorts runs of one network, with PRM and without, by the number of heads.

    Args:
        runs: that differ in heads and seeds only.

    Raises:
        ValueError: no run has PRM, a run has another module, the runs are of several
            data sets or networks, or differ in more than heads and seed.
    """
    for run in runs:
        if _plain_name(run) not in NETWORKS:
            raise ValueError(
                "The figure compares a network with PRM and without: "
                f"{run.folder} is of {run.model}. Leave it out."
            )
    _require_one("data set", runs, _dataset, _same_images)
    _require_one("network", runs, _plain_name)
    _require_alike(runs)
    network = _plain_name(runs[0])
    heads: dict[int, list[float]] = {}
    plain: list[float] = []
    for run in runs:
        found = plain if run.model == network else heads.setdefault(_groups(run), [])
        found.append(run.scores["top1"])
    if not heads:
        raise ValueError(
            f"At least one run must have PRM; all {len(runs)} are of {network}. Add "
            f"the folders of prm_{network}."
        )
    return HeadsRuns(network, _dataset(runs[0]), dict(sorted(heads.items())), plain)


def _plain_name(run: Run) -> str:
    return run.model.removeprefix("prm_")


def _groups(run: Run) -> int:
    chosen = run.config.get("model.groups")
    return NETWORKS[_plain_name(run)].groups if chosen is None else int(chosen)


def _dataset(run: Run) -> str:
    root, source = run.config.get("data.root"), run.source
    return NAMED.get(source) or (f"{source} {Path(root).name}" if root else source)


def _same_images(one: Run, other: Run) -> bool:
    """Whether both wrote down the same lists of images, wherever these were."""
    if one.data is None or other.data is None or one.source != other.source:
        return False
    return all(one.data.get(part) == other.data.get(part) for part in ("train", "test"))


def _require_one(
    what: str,
    runs: Sequence[Run],
    of: Callable[[Run], str],
    equal: Callable[[Run, Run], bool] = lambda one, other: False,
) -> None:
    first = runs[0]
    for run in runs:
        if of(run) != of(first) and not equal(run, first):
            raise ValueError(
                f"All runs must be of one {what}: {first.folder} is of {of(first)}, "
                f"{run.folder} of {of(run)}. Draw them apart."
            )


def _require_alike(runs: Sequence[Run]) -> None:
    first = runs[0]
    for run in runs[1:]:
        # A newer version may have more options.
        for key in sorted(first.config.keys() & run.config.keys()):
            if first.config[key] != run.config[key] and not is_free(key, FREE_HERE):
                raise ValueError(
                    "The runs must differ in heads and seed only, or the figure would "
                    f"show something else: {key} is {first.config[key]} in "
                    f"{first.folder} and {run.config[key]} in {run.folder}."
                )


def draw_accuracy(path: str | os.PathLike, runs: HeadsRuns) -> None:
    """Draws top-1 accuracy against the number of heads.

    A point is a run, the line goes through the means. The network without PRM is a
    dashed line at its mean, with a band from its lowest to its highest run.

    Args:
        path: of the PNG to write.
        runs: from `by_heads`.

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
