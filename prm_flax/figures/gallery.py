"""One image of the picture of predictions: its words, its frame, its query points."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from prm_flax.figures.canvas import BLUE, GREEN, LIGHT, PURPLE, VERMILION
from prm_flax.figures.lettering import fitted
from prm_flax.printable import printable

# Up to this many pixels a side an image is enlarged as crisp squares.
SMALL_IMAGE = 112
STAGE_COLORS = ("#F0E442", GREEN, PURPLE, "#56B4E9", "#E69F00")
STAGE_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# Area in points² of a marker that stands for one group.
MARKER_AREA = 18.0
# Inches for the words above an image, of the 2.2 that it has with its margins.
ROOM = 2.0


def panel(
    axes: Axes,
    image: np.ndarray,
    truth: int | None,
    probabilities: np.ndarray,
    names: Sequence[str],
    queries: Mapping[str, np.ndarray],
) -> None:
    """Draws one image with its words, frame and query points.

    Args:
        axes: to draw on.
        image: (h, w, 1 or 3) uint8.
        truth: the true class, or None.
        probabilities: (classes,).
        names: of the classes.
        queries: stage -> (g, 2) row and column in pixels.
    """
    crisp = max(image.shape) <= SMALL_IMAGE
    axes.imshow(
        image.squeeze(-1) if image.shape[-1] == 1 else image,
        cmap="gray",
        vmin=0,
        vmax=255,
        interpolation="nearest" if crisp else "antialiased",
    )
    axes.set(xticks=[], yticks=[])
    axes.autoscale(False)
    said = int(np.argmax(probabilities))
    mark, color, line = _verdict(said, truth)
    axes.spines[:].set(edgecolor=color, linewidth=2, linestyle=line)
    form = f"{mark}{{}} {probabilities[said]:.0%}"
    look = {"size": 10, "weight": "bold"}
    words = fitted(names[said], ROOM, form=form, **look)
    pad = 6 if truth is None else 18
    axes.set_title(words, color=color, pad=pad, parse_math=False, **look)
    if truth is not None:
        _second_line(axes, fitted(names[truth], ROOM, 9, form="true: {}"))
    for k, points in enumerate(queries.values()):
        _points(axes, points, k)


def _verdict(said: int, truth: int | None) -> tuple[str, str, str]:
    if truth is None:
        return "", LIGHT.ink, "-"
    return ("✓ ", BLUE, "-") if said == truth else ("✗ ", VERMILION, "--")


def _second_line(axes: Axes, words: str) -> None:
    axes.annotate(
        words,
        (0.5, 1),
        (0, 4),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=9,
        color=LIGHT.faint,
        parse_math=False,
        # The title above it keeps its height free; its width is not to count.
        in_layout=False,
    )


def _points(axes: Axes, points: np.ndarray, stage: int) -> None:
    places, count = np.unique(points, axis=0, return_counts=True)
    axes.scatter(
        places[:, 1],
        places[:, 0],
        s=areas(count),
        # The first stages' many small points lie above the last ones' few large.
        zorder=20 - stage,
        linewidths=0.6,
        edgecolors="black",
        alpha=0.9,
        clip_on=False,
        **_look(stage),
    )


def _look(stage: int) -> dict[str, Any]:
    return {
        "color": STAGE_COLORS[stage % len(STAGE_COLORS)],
        "marker": STAGE_MARKERS[stage % len(STAGE_MARKERS)],
    }


def areas(count: ArrayLike) -> np.ndarray:
    """Markers' areas in points², proportional to √count: 64 groups still fit."""
    return MARKER_AREA * np.sqrt(count)


def stage_legend(figure: Figure, queries: Mapping[str, np.ndarray]) -> None:
    """Says below the images which marker is which stage, and what its size means."""
    look = {"linestyle": "", "markeredgecolor": "black", "markeredgewidth": 0.6}
    handles = [
        Line2D([], [], label=printable(stage), markersize=6, **_look(k), **look)
        for k, stage in enumerate(queries)
    ]
    most = max(np.shape(points)[1] for points in queries.values())
    for count in sorted({1, most}):
        size = np.sqrt(areas(count))
        label = f"{count} group{'s' if count > 1 else ''}"
        white = {"marker": "o", "color": "white", "markersize": size}
        handles.append(Line2D([], [], label=label, **white, **look))
    place = {"loc": "outside lower center", "ncols": len(handles), "frameon": False}
    for text in figure.legend(handles=handles, **place).get_texts():
        text.set_parse_math(False)
