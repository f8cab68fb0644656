"""Figure 5: query points, position masks and Grad-CAM of one image, by stage."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from prm_flax.figures.canvas import LIGHT, blank, save
from prm_flax.figures.enlarge import enlarged, in_unit_range
from prm_flax.figures.gallery import SMALL_IMAGE, areas
from prm_flax.figures.lettering import fitted

SIDE = 1.75
COLORMAP = "inferno"
# A heat map lets this share of the image through.
IMAGE_SHARE = 0.4
LIFT = 70
POINT = "#ff2d20"
SCALE = "Heat maps: dark is the least value of each, bright its largest."
ROWS = ("query points", "position mask", "Grad-CAM")


class Looks(NamedTuple):
    """What is drawn of one image.

    Attributes:
        image: uint8 (h, w, 1 or 3), before the normalisation.
        cams: stage -> (h', w') Grad-CAM; {} for a detector.
        queries: stage -> (g, 2) row and column in pixels; {} without PRM.
        masks: stage -> (h', w') mean of D over the groups; {} without PRM.

    The stages, of all that is there the same, are the columns.
    """

    image: np.ndarray
    cams: dict[str, np.ndarray]
    queries: dict[str, np.ndarray]
    masks: dict[str, np.ndarray]


def draw_looks(path: str | os.PathLike, looks: Looks, title: str, note: str = ""):
    """Draws what a network looks at: a row a kind, a column a stage.

    A heat map is enlarged bilinearly and scaled from its least to its largest value,
    which stand below a position mask. A network without PRM has one row, Grad-CAM; a
    detector has none of it.

    Args:
        path: of the PNG to write.
        looks: what is drawn.
        title: above the picture.
        note: below it.

    Raises:
        ValueError: path does not end in .png.
    """
    there = looks.queries, looks.masks, looks.cams
    rows = [row for row, kind in zip(ROWS, there, strict=True) if kind]
    # Where no row shows the image as it is, it has a column.
    alone = [] if looks.queries else [None]
    columns = [*alone, *(looks.cams or looks.queries)]
    height = (SIDE + 0.18) * len(rows) + 0.9
    width = SIDE * len(columns) + 0.9
    figure = blank(width, height)
    panels = figure.subplots(len(rows), len(columns), squeeze=False)
    for column, stage in zip(panels.T, columns, strict=True):
        words = fitted(stage or "image", SIDE, 10)
        column[0].set_title(words, size=10, color=LIGHT.faint, parse_math=False)
        for row, axes in zip(rows, column, strict=True):
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(edgecolor=LIGHT.faint, linewidth=0.8)
            draw = DRAW[row] if stage else _image
            draw(axes, looks, stage)
    for row, axes in zip(rows, panels[:, len(alone)], strict=True):
        axes.set_ylabel(row, fontsize=10, color=LIGHT.ink)
    words = fitted(title, width - 0.3, 11)
    figure.suptitle(words, size=11, color=LIGHT.ink, parse_math=False)
    _below(figure, looks, note)
    save(figure, path)


def _image(axes: Axes, looks: Looks, stage: None) -> None:
    _show(axes, looks.image)


def _queries(axes: Axes, looks: Looks, stage: str) -> None:
    _show(axes, looks.image)
    axes.autoscale(False)
    places, count = np.unique(looks.queries[stage], axis=0, return_counts=True)
    look = {"color": POINT, "edgecolors": "white", "linewidths": 0.7, "alpha": 0.9}
    axes.scatter(places[:, 1], places[:, 0], s=areas(count), clip_on=False, **look)


def _mask(axes: Axes, looks: Looks, stage: str) -> None:
    mask = looks.masks[stage]
    _heat(axes, looks.image, mask)
    low, high = f"{mask.min():.2g}", f"{mask.max():.2g}"
    words = low if low == high else f"{low} to {high}"
    axes.set_xlabel(words, fontsize=7.5, color=LIGHT.faint, labelpad=2)


def _cam(axes: Axes, looks: Looks, stage: str) -> None:
    _heat(axes, looks.image, looks.cams[stage])


DRAW: dict[str, Callable[[Axes, Looks, Any], None]] = dict(
    zip(ROWS, (_queries, _mask, _cam), strict=True)
)


def _heat(axes: Axes, image: np.ndarray, values: np.ndarray) -> None:
    grey = image.mean(-1, keepdims=True).repeat(3, -1)
    # Black would leave nothing of the heat map's colours.
    _show(axes, (LIFT + (1 - LIFT / 255) * grey).astype(np.uint8))
    heat = in_unit_range(enlarged(values, image.shape[:2]))
    axes.imshow(heat, cmap=COLORMAP, vmin=0, vmax=1, alpha=1 - IMAGE_SHARE)


def _show(axes: Axes, image: np.ndarray) -> None:
    crisp = max(image.shape) <= SMALL_IMAGE
    interpolation = "nearest" if crisp else "antialiased"
    axes.imshow(image.repeat(3 // image.shape[-1], -1), interpolation=interpolation)


def _below(figure: Figure, looks: Looks, note: str) -> None:
    if looks.queries:
        most = max(len(points) for points in looks.queries.values())
        _legend(figure, sorted({1, most}))
    words = f"{SCALE}\n{note}" if note else SCALE
    look = {"fontsize": 8, "color": LIGHT.faint, "linespacing": 1.4}
    figure.supxlabel(words, x=0.015, ha="left", **look)


def _legend(figure: Figure, counts: list[int]) -> None:
    look: dict[str, Any] = {"linestyle": "", "marker": "o", "color": POINT}
    handles = [
        Line2D([], [], label=f"{n} group{'s' * (n > 1)}", ms=np.sqrt(areas(n)), **look)
        for n in counts
    ]
    place = {"loc": "outside lower right", "ncols": len(handles), "frameon": False}
    figure.legend(handles=handles, fontsize=8, **place)
