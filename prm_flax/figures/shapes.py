"""The shapes that the pictures of module and heads are made of. Lengths are inches."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import (
    Circle,
    FancyArrowPatch,
    FancyBboxPatch,
    Polygon,
    Rectangle,
)
from matplotlib.path import Path

from prm_flax.figures.canvas import Theme

Point = tuple[float, float]
TEXT, SMALL, FORMULA = 12.0, 10.5, 17.0
COLORMAP = "viridis"
CORNER, RADIUS = 0.09, 0.17
# The colours of a slab's sides, above and at the right, near the heat maps' middle.
ABOVE, RIGHT = "#7aa5a8", "#4d7a80"


class Sheet:
    """A page to draw on, its origin below on the left.

    Args:
        figure: from `canvas.blank`; the sheet covers it.
        theme: the colours.
    """

    def __init__(self, figure: Figure, theme: Theme):
        self.theme = theme
        self.axes = figure.add_axes((0, 0, 1, 1))
        self.axes.set_axis_off()
        self._size = figure.get_size_inches()
        self._fit()

    def _fit(self) -> None:
        # imshow sets the limits to its image's.
        width, height = self._size
        self.axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")

    def image(self, centre: Point, values, size, edge, limits=None, zorder=3.0):
        """A heat map with a frame.

        Args:
            centre: of the image.
            values: (h, w), its first row above.
            size: (width, height) of the image.
            edge: the frame's colour.
            limits: the values of the darkest and the brightest colour; else the
                smallest and the largest value.
            zorder: what lies above what.
        """
        low, high = limits or (np.min(values), np.max(values))
        corner = centre[0] - size[0] / 2, centre[1] - size[1] / 2
        extent = (corner[0], corner[0] + size[0], corner[1], corner[1] + size[1])
        look = {"vmin": low, "vmax": high, "cmap": COLORMAP}
        self.axes.imshow(
            values, extent=extent, interpolation="nearest", zorder=zorder, **look
        )
        self._fit()
        frame = Rectangle(corner, *size, fill=False, edgecolor=edge, linewidth=1.6)
        self.axes.add_patch(frame).set_zorder(zorder + 0.01)

    def line(self, color: str, *points: Point, arrow: bool = True) -> None:
        """A line with rounded corners through the points, an arrow at its end."""
        vertices, codes = [points[0]], [Path.MOVETO]
        for before, corner, after in zip(points, points[1:], points[2:], strict=False):
            vertices += [_towards(corner, before), corner, _towards(corner, after)]
            codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
        route = Path([*vertices, points[-1]], [*codes, Path.LINETO])
        style = "-|>,head_length=5,head_width=2.6" if arrow else "-"
        patch = FancyArrowPatch(
            path=route, arrowstyle=style, color=color, linewidth=1.7, capstyle="butt"
        )
        patch.set(fill=arrow, zorder=1.5, joinstyle="miter")
        self.axes.add_patch(patch)

    def dot(self, centre: Point, color: str) -> None:
        """Where a line branches."""
        self.axes.add_patch(Circle(centre, 0.045, color=color)).set_zorder(2)

    def cross(self, centre: Point, color: str) -> None:
        """A marked position on a heat map."""
        for width, hue in ((4.5, "white"), (2.2, color)):
            self.axes.plot(*centre, "+", color=hue, ms=11, mew=width, zorder=5)

    def operator(self, centre: Point, symbol: str) -> None:
        """A symbol in a circle."""
        theme = self.theme
        patch = Circle(
            centre, RADIUS, facecolor=theme.paper, edgecolor=theme.ink, linewidth=1.6
        )
        self.axes.add_patch(patch).set_zorder(4)
        self.formula(centre, symbol, theme.ink)

    def box(self, centre: Point, width: float, height: float) -> None:
        """An empty box with round corners."""
        theme = self.theme
        patch = FancyBboxPatch(
            (centre[0] - width / 2, centre[1] - height / 2),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.12",
            facecolor=theme.paper,
            edgecolor=theme.ink,
            linewidth=1.6,
        )
        self.axes.add_patch(patch).set_zorder(4)

    def text(self, centre: Point, words: str, color=None, size=TEXT, ha="center"):
        """A line of words; at this height is the middle of its small letters."""
        # Half the height of an x is about 0.27 of the size, of which 72 are an inch.
        base = centre[0], centre[1] - 0.3 * size / 72
        self._write(base, words, color or self.theme.ink, size, ha, "baseline")

    def formula(self, centre: Point, words: str, color, ha="center", size=FORMULA):
        """A tall formula, of which the middle is at this height."""
        self._write(centre, words, color, size, ha, "center")

    def _write(self, place: Point, words, color, size, ha, va) -> None:
        artist = self.axes.text(*place, words, color=color, fontsize=size, ha=ha, va=va)
        artist.set(family="DejaVu Sans", math_fontfamily="stix", zorder=6)


def _towards(corner: Point, other: Point) -> Point:
    step = np.subtract(other, corner)
    return tuple(np.add(corner, step * CORNER / np.hypot(*step)))


def stack(sheet: Sheet, front: Point, faces, size: float, step: float) -> None:
    """Draws slabs one behind the other, each with a heat map on its face.

    Args:
        sheet: to draw on.
        front: centre of the first slab's face.
        faces: (g, h, w), the first in front; one colour scale for all.
        size: side of a face.
        step: from one slab to the next, to the right and up.
    """
    limits = (np.min(faces), np.max(faces))
    for k in reversed(range(len(faces))):
        centre = front[0] + k * step, front[1] + k * step
        zorder = 3 - 0.1 * k
        _sides(sheet, centre, size / 2, 0.72 * step, zorder - 0.05)
        sheet.image(centre, faces[k], (size, size), sheet.theme.ink, limits, zorder)


def _sides(sheet: Sheet, centre: Point, half: float, depth: float, zorder: float):
    (left, low), (right, high) = np.subtract(centre, half), np.add(centre, half)
    above, beside = ((left, high), (right, high)), ((right, high), (right, low))
    for (a, b), shade in ((above, ABOVE), (beside, RIGHT)):
        corners = [a, b, np.add(b, depth), np.add(a, depth)]
        patch = Polygon(corners, facecolor=shade, edgecolor=sheet.theme.ink)
        sheet.axes.add_patch(patch).set_zorder(zorder)
