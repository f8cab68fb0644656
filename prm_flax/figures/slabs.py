"""Feature maps drawn as a row of slabs."""

import numpy as np
from matplotlib.patches import Polygon

from prm_flax.figures.shapes import Point, Sheet

# The sides' colours, from above and from the right, near the heat maps' middle.
ABOVE, RIGHT = "#7aa5a8", "#4d7a80"


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
